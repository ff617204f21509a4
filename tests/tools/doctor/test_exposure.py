from __future__ import annotations

import pytest

from fanwise.tools.doctor.exposure import exposure, fleet, processes, workers
from fanwise.tools.doctor.findings import Level


@pytest.mark.parametrize(
    ("key", "loopback", "problems", "level"),
    [
        (False, True, [], Level.OK),
        (True, False, [], Level.OK),
        (False, False, [], Level.WARN),
        (False, False, ["set a key"], Level.FAIL),
    ],
)
def test_who_may_publish(key: bool, loopback: bool, problems: list[str], level: Level) -> None:
    """This machine alone, who has the key, everybody on purpose, everybody by accident."""
    found = exposure(address="10.0.0.1:8000", key=key, loopback=loopback, problems=problems)
    assert found.level is level
    assert (problems or ["10.0.0.1:8000"])[0] in found.found


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({}, Level.OK),
        ({"WEB_CONCURRENCY": "1"}, Level.OK),
        ({"WEB_CONCURRENCY": "many"}, Level.OK),
        ({"WEB_CONCURRENCY": "4"}, Level.WARN),
        ({"UVICORN_WORKERS": "2"}, Level.WARN),
    ],
)
def test_workers_that_uvicorn_would_start(environ: dict[str, str], level: Level) -> None:
    """`fanwise serve` does not: it is a warning to those who start uvicorn themselves."""
    found = workers(environ)
    assert found.level is level
    assert not environ or level is Level.OK or next(iter(environ)) in found.found


@pytest.mark.parametrize(("pids", "level"), [([7] * 12, Level.OK), ([7] * 11 + [8], Level.FAIL)])
def test_answers_of_several_processes(pids: list[int], level: Level) -> None:
    """Are a failure: a message reaches the clients of one of them."""
    assert processes(pids).level is level


@pytest.mark.parametrize(
    ("pids", "silent", "level"),
    [([7, 8, 7], [], Level.OK), ([7, 9], [], Level.FAIL), ([7, 9], ["\x1b"], Level.WARN), ([7], ["x"], Level.WARN)],
)
def test_answers_of_workers(pids: list[int], silent: list[str], level: Level) -> None:
    """Are fine where all workers answer each other; a process that none of them knows is of another fleet."""
    found = fleet(pids, [7, 8], silent)
    assert found.level is level
    assert found.found.isprintable()


def test_workers_of_our_own() -> None:
    """With what they need; else with what is missing."""
    assert workers({"WEB_CONCURRENCY": "4"}, 2).level is Level.OK
    found = workers({}, 2, ["several workers need an engine"])
    assert (found.level, found.found) == (Level.FAIL, "several workers need an engine")

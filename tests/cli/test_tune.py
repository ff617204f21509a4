"""`fanwise tune`: sources, output and exit statuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fanwise.cli.tune import tune
from fanwise.core.trace import Header, TraceEncoder
from fanwise.tuning.outcome import Candidate
from fanwise.tuning.plan import Plan, make_scene

from ..support.recorded import RecordedReplay

PLAN = [
    *("--rate", "30", "--size", "5000", "--clients", "12", "--pausing", "4", "--pause", "0.5s..4s"),
    *("--between", "2s", "--duration", "8s"),
]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(tune, arguments)


@pytest.fixture(scope="module")
def trace_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of a server with a narrow queue."""
    plan = Plan(rate=30, size=5000, clients=12, pausing=4, pause_seconds=(0.5, 4.0), between_seconds=2.0, seconds=8.0)
    candidate = Candidate(queue_messages=10)
    replay = RecordedReplay(make_scene(plan), candidate)
    replay.run()
    encoder = TraceEncoder(Header("1.0", 0.0, candidate.as_settings()))
    for record in replay.records:
        encoder.add(record)
    path = tmp_path_factory.mktemp("tune") / "fanwise.trace"
    path.write_bytes(encoder.take())
    return path


def test_a_plan_gets_a_proposal_as_text_and_page(tmp_path: Path) -> None:
    """Status 1: a queue of 10 is narrow for pauses of up to 4 s."""
    page = tmp_path / "tune.html"
    done = run(*PLAN, "--queue-messages", "10", "--html", str(page))
    assert done.exit_code == 1, done.output
    assert "FANWISE_QUEUE_MESSAGES=" in done.stdout
    assert "a plan of 8 s" in done.stdout
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("kind", ["ticker", "chat", "cursors"])
def test_known_kinds_of_traffic_are_plans(kind: str) -> None:
    """Whose parts other options change."""
    done = run("--like", kind, "--clients", "10", "--duration", "1s", "--json")
    assert done.exit_code in (0, 1), done.output
    assert json.loads(done.stdout)["traffic"]["clients"] == 10
    assert "one of --url, --trace, or a plan" in run("--like", kind, "--url", "http://127.0.0.1:1").output


def test_good_settings_end_with_0() -> None:
    done = run(*PLAN, "--queue-messages", "600", "--queue-bytes", "1000000", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["proposal"], told["today"]["dropped"]) == ([], 0)


def test_a_trace_is_tuned_from_its_own_settings(trace_file: Path) -> None:
    """The queue of 10 is that of the header, whatever this command's own settings are."""
    done = run("--trace", str(trace_file), "--json", "--queue-messages", "7000")
    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout)
    assert told["today"]["settings"]["queue_messages"] == 10
    assert told["proposed"]["settings"]["queue_messages"] > 10
    assert told["today"]["dropped"] > told["proposed"]["dropped"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one of --url, --trace, or a plan"),
        (["--trace", "x", "--rate", "5"], "one of --url, --trace, or a plan"),
        (["--rate", "5", "--clients", "5"], "--size"),
        ([*PLAN, "--pause", "4s..2s"], "--pause"),
        ([*PLAN, "--pausing", "13"], "--pausing"),
        ([*PLAN, "--slow", "9"], "up to the 12 clients together"),
        ([*PLAN, "--memory", "much"], "--memory"),
        ([*PLAN, "--queue-messages", "0"], "FANWISE_QUEUE_MESSAGES"),
        (["--trace", "/nowhere/x"], "--trace"),
        (["--trace", "x", "--prove"], "--prove"),
    ],
)
def test_wrong_options_end_with_2(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert words in done.stderr


def test_a_damaged_trace_ends_with_3(trace_file: Path, tmp_path: Path) -> None:
    """The error names the place."""
    damaged = tmp_path / "damaged.trace"
    data = bytearray(trace_file.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    done = run("--trace", str(damaged))
    assert done.exit_code == 3
    assert "at byte" in done.stderr


def test_a_server_that_is_not_there_ends_with_3() -> None:
    done = run("--url", "http://127.0.0.1:9", "--for", "1s")
    assert done.exit_code == 3
    assert "nothing listens there" in done.stderr


def test_a_silent_trace_teaches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "silent.trace"
    path.write_bytes(TraceEncoder(Header("1.0", 0.0, {})).take())
    done = run("--trace", str(path))
    assert done.exit_code == 3
    assert "nothing was published" in done.stderr

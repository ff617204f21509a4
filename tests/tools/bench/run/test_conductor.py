"""End to end: processes, sockets, and servers that do something wrong on purpose."""

from __future__ import annotations

import pytest

from fanwise.tools.bench.errors import BenchFailedError
from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.load.recording import Message, Range, RecordedReader, Recording
from fanwise.tools.bench.run.conductor import Conductor
from fanwise.tools.bench.run.results import Results
from fanwise.tools.bench.run.servers import FANWISE, PATH
from fanwise.tools.load.behaviour import Behaviour
from fanwise.tools.local_server import running

from ....support import bad_server as bad
from ....support.bad_server import bad_server
from ....support.bench import run


def plan(url: str, **changes: object) -> Plan:
    values = {"url": url, "clients": 20, "duration_seconds": 0.3, "rate": 200.0, "drain_seconds": 1.0, **changes}
    return Plan(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "flaw"),
    [
        (bad.lose, "lost"),
        (bad.duplicate, "duplicates"),
        (bad.corrupt, "corrupt"),
        (bad.rewrite_time, "corrupt"),
        (bad.Reorder(), "reordered"),
    ],
)
def test_each_fault_is_reported_as_what_it_is(fault: bad.Fault, flaw: str) -> None:
    """One client of twenty gets it wrong, each seventh time; the others are not blamed."""
    with bad_server(fault) as url:
        score = run(plan(url))
    hits = (score.published + 5) // bad.EVERY
    assert set(score.flaws) <= {flaw, "undelivered"}  # the last of a reordered pair may have had no successor
    assert hits - 1 <= score.flaws[flaw] <= hits
    assert score.published == 60
    assert score.deliveries >= 20 * 60 - hits


def test_who_is_closed_is_told_with_the_code() -> None:
    """And with the server's own words; everybody else goes on."""
    with bad_server(close_at=20) as url:
        score = run(plan(url))
    assert score.drop_counts == {(Behaviour.HEALTHY, "4008 too slow for <us>"): 1}
    assert 0 < score.drops[0].at_seconds < 1
    assert score.flaws == {"dropped": 1}
    assert score.deliveries == 19 * 60 + 15


def test_a_fine_server_has_no_flaw() -> None:
    """Also when it is saturated, and in front of several processes."""
    with bad_server() as url:
        score = run(plan(url, rate=None, workers=2))
    assert score.flaws == {}
    assert score.deliveries == 20 * score.published
    assert len(score.efforts) == 2


@pytest.mark.parametrize("dialect", ["plain", "fanwise.v1"])
def test_fanwise(dialect: str) -> None:
    """Several channels, saturated, with stalled, slow and flapping clients: who reads gets everything."""
    seen: list[tuple[str, Results]] = []
    with running(FANWISE) as server:
        chosen = plan(
            server.url("ws", PATH),
            clients=40,
            channels=3,
            rate=None,
            dialect=dialect,
            slow=3,
            stalled=3,
            flapping=3,
            flap_seconds=Range(0.02, 0.1),
            duration_seconds=0.6,
            server_pid=server.pid,
        )
        score = Conductor(chosen, lambda phase, score: seen.append((phase, score))).run()
    assert score.flaws == {}
    assert score.deliveries > 1000
    assert score.flaps > 3
    assert score.server.cpu_seconds
    assert score.server.rss_peak_bytes
    assert score.count("deliveries", Behaviour.FLAPPING) > 0
    assert sum(moment.deliveries for moment in score.moments) == score.deliveries
    assert {phase for phase, _ in seen} >= {"drained"}


def test_a_recording_is_played() -> None:
    """Each message at its time, in its size and with its key; a reader comes, pauses, resumes and goes as it did."""
    messages = tuple(Message(number / 200, 40 + 100 * (number % 3), f"k{number % 2}") for number in range(200))
    readers = (
        RecordedReader(0, ((0.2, 0.0), (0.5, 1e9))),
        RecordedReader(0, (), begins=0.3, ends=0.7),
        RecordedReader(0, ((0.0, 50_000.0),), away_seconds=Range(0.1, 0.2)),
    )
    recording = Recording(channels=(messages,), readers=readers, healthy=5, seconds=1.0)
    with running(FANWISE) as server:
        chosen = plan(
            server.url("ws", PATH),
            dialect="fanwise.v1",
            clients=8,
            rate=None,
            duration_seconds=1.0,
            recording=recording,
        )
        score = run(chosen)
    assert (score.flaws, score.published, score.deliveries) == ({}, 200, 1000)
    assert 2 * 200 < score.count("deliveries", Behaviour.REPLAYED) < 3 * 200
    assert score.open_clients[Behaviour.REPLAYED] == 2
    longest = score.staleness_ms(Behaviour.REPLAYED, "max")
    assert longest is not None
    assert longest > 250


def test_nobody_there() -> None:
    """The run comes to nothing, and says why."""
    with pytest.raises(BenchFailedError, match="21 of 21 clients did not connect: cannot connect: ECONNREFUSED"):
        run(plan("ws://127.0.0.1:1/"))


def test_a_server_that_keeps_everything_to_itself() -> None:
    """Is found out while warming up."""
    with bad_server(lambda _client, _message, _text: []) as url, pytest.raises(BenchFailedError, match="20 of 20"):
        run(plan(url, warmup_seconds=0.3))

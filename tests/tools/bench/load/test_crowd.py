from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic_ns
from typing import Any

from fanwise.tools.bench.load.crowd import Crowd
from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.load.recording import Range
from fanwise.tools.bench.run.servers import FANWISE, PATH
from fanwise.tools.load.behaviour import Behaviour
from fanwise.tools.load.wire import TEXT, client_frame
from fanwise.tools.local_server import running

from ....support import bad_server as bad
from ....support.bad_server import bad_server
from ....support.bench import PAYLOADS


@contextmanager
def crowd(
    url: str, *, started: bool = True, **changes: Any
) -> Iterator[tuple[Crowd, Callable[[Callable[[], object]], None]]]:
    """A crowd, all of which is connected, and a way to let it go on until something holds."""
    made = Crowd(Plan(**{"url": url, "clients": 4, "warmup_messages": 0, **changes}), 0)

    def until(condition: Callable[[], object]) -> None:
        while not condition():
            made.tick(monotonic_ns())
            made.engine.turn(0.01)

    try:
        until(lambda: made.settled)
        if started:
            made.start(monotonic_ns())
        yield made, until
    finally:
        made.close()


def publish(made: Crowd, count: int, *, first: int = 1, size: int = 128) -> None:
    """As the crowd's own publisher would."""
    payloads = made._streams[0].payloads
    assert payloads.size_bytes == size
    sock = made.publishers[0].socket
    sock.setblocking(True)
    for sequence in range(first, first + count):
        text = made.dialect.publish("bench-0", payloads.build(sequence, monotonic_ns()))
        sock.sendall(client_frame(TEXT, text))
    sock.setblocking(False)


def test_everybody_is_there() -> None:
    """Of each kind as many as planned, and one publisher."""
    with bad_server() as url, crowd(url, clients=9, slow=1, stalled=2, flapping=1) as (made, _):
        assert made.open_clients() == {
            Behaviour.HEALTHY: 5,
            Behaviour.SLOW: 1,
            Behaviour.STALLED: 2,
            Behaviour.FLAPPING: 1,
            Behaviour.PUBLISHER: 1,
        }
        assert made.failed == 0


def test_healthy_clients_get_everything() -> None:
    """And what they wait for is known."""
    with bad_server() as url, crowd(url) as (made, until):
        publish(made, 10)
        until(lambda: made.tallies[Behaviour.HEALTHY].deliveries == 10 * made.open_clients()[Behaviour.HEALTHY])
        assert made.tallies[Behaviour.HEALTHY].deliveries == 40
        until(lambda: made.tallies[Behaviour.PUBLISHER].deliveries == 10)
        assert (made.behind([10]), made.behind([12])) == (0, 8)


def test_the_fate_of_a_stalled_client() -> None:
    """It reads nothing until the end; then what it was sent, with the reason, comes to light."""
    with bad_server() as url, crowd(url, stalled=2) as (made, until):
        publish(made, 10)
        until(lambda: made.tallies[Behaviour.HEALTHY].deliveries == 10 * made.open_clients()[Behaviour.HEALTHY])
        assert made.tallies[Behaviour.STALLED].deliveries == 0

        def everything() -> bool:
            made.fates()
            return made.tallies[Behaviour.STALLED].deliveries == 20

        until(everything)
        assert not made.drops


def test_a_stalled_client_that_is_dropped() -> None:
    """Is counted with the code at once, although it does not read."""
    with bad_server(close_at=3) as url, crowd(url, clients=bad.VICTIM + 4, stalled=bad.VICTIM + 3) as (made, until):
        publish(made, 5)
        until(lambda: made.drops)
        kinds = {drop.kind for drop in made.drops}
        assert len(made.drops) == 1
        assert kinds <= {Behaviour.STALLED, Behaviour.HEALTHY}
        assert made.drops[0].cause == "4008 too slow for <us>"


def test_slow_clients_read_their_share() -> None:
    """So many bytes a second, in tenths of it."""
    with bad_server() as url, crowd(url, slow=1, slow_bytes_per_second=Range(1450, 1450)) as (made, until):
        publish(made, 10)
        until(lambda: made.tallies[Behaviour.HEALTHY].deliveries == 10 * made.open_clients()[Behaviour.HEALTHY])
        before = made.tallies[Behaviour.SLOW].deliveries
        until(lambda: made.tallies[Behaviour.SLOW].deliveries == 10)
        assert before < 10
        assert monotonic_ns() - made.start_ns > 500_000_000


def test_flapping_clients_come_back() -> None:
    """Again and again, without being counted as dropped or as losing what came while they were away."""
    with bad_server() as url, crowd(url, flapping=2, flap_seconds=Range(0.001, 0.01)) as (made, until):
        sent = 0

        def busy() -> bool:
            nonlocal sent
            publish(made, 1, first=sent + 1)
            sent += 1
            return made.flaps >= 10

        until(busy)
        tally = made.tallies[Behaviour.FLAPPING]
        assert tally.lost == tally.duplicates == tally.reordered == 0
        assert not made.drops


def test_clients_that_come_back_are_counted_once() -> None:
    """However often they leave while others still connect: else fewer than none did not connect."""
    with bad_server() as url, crowd(url, flapping=2, flap_seconds=Range(0.001, 0.01)) as (made, until):
        made.start_ns = 0
        until(lambda: made.flaps >= 10)
        until(lambda: made.open_clients().get(Behaviour.FLAPPING) == 2)
        assert (made.ready, made.failed) == (5, 0)


def test_a_client_that_cannot_come_back_had_come_all_the_same() -> None:
    """Before the measurement, too: a note says so, and the client is tried again."""
    with ExitStack() as server:
        url = server.enter_context(bad_server())
        with crowd(url, flapping=2, flap_seconds=Range(0.001, 0.01)) as (made, until):
            made.start_ns = 0
            server.close()
            until(lambda: sum(made.notes.values()) > 3)
            assert (made.ready, made.failed) == (5, 0)
            assert all(note.startswith("a flapping client could not come back: ") for note in made.notes)


def test_what_others_publish_is_nothing_to_us() -> None:
    """A message with another run's token is no message of ours, and no flaw."""
    with bad_server() as url, crowd(url) as (made, until):
        made.publishers[0].socket.send(client_frame(TEXT, PAYLOADS.build(1, 1)))
        publish(made, 1)
        healthy = made.tallies[Behaviour.HEALTHY]
        until(lambda: healthy.deliveries == 4)
        assert (healthy.corrupt, healthy.lost, made.progress[0].lowest) == (0, 0, 2)


def test_who_pauses_too_long_is_dropped_and_resumes() -> None:
    """Nothing is lost where the log reaches back far enough; who does not resume stays away."""
    settings = {"QUEUE_MESSAGES": "100", "HISTORY_MESSAGES": "100000", "HISTORY_BYTES": "100000000"}
    moments: dict[str, Any] = {
        "pause_seconds": Range(1.0, 1.0),
        "awake_seconds": Range(0.1, 0.1),
    }
    kinds: dict[str, Any] = {"pausing": 2, "resuming": 1, "size_bytes": 1000, "away_seconds": Range(0.01, 0.01)}
    sent = 0
    with (
        running(FANWISE, environ={f"FANWISE_{name}": value for name, value in settings.items()}) as server,
        crowd(server.url("ws", PATH), dialect="fanwise.v1", **moments, **kinds) as (made, until),
    ):
        until(lambda: made.ready == 5)
        pausing, healthy = made.tallies[Behaviour.PAUSING], made.tallies[Behaviour.HEALTHY]

        def done() -> bool:
            nonlocal sent
            if healthy.deliveries == 2 * sent:
                publish(made, 50, first=sent + 1, size=1000)
                sent += 50
            return pausing.recovered > 0 and made.drop_counts.total() > 1

        until(done)
        assert (pausing.lost, pausing.duplicates, pausing.gaps_told) == (0, 0, 0)
        assert {(kind, cause[:4]) for kind, cause in made.drop_counts} == {(Behaviour.PAUSING, "4008")}
        assert pausing.returned in (made.drop_counts.total() - 1, made.drop_counts.total() - 2)

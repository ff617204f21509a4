from __future__ import annotations

from time import monotonic_ns

from fanwise.tools.bench.load.client import Client
from fanwise.tools.bench.load.habits import receive_buffer
from fanwise.tools.bench.load.plan import Place, Plan
from fanwise.tools.bench.load.recording import Range
from fanwise.tools.load.behaviour import Behaviour

from ....support.bad_server import bad_server
from .test_crowd import crowd, publish


def test_a_pausing_client_reads_nothing_and_then_everything() -> None:
    """Again and again, beside clients that get all at once."""
    moments = Range(0.05, 0.1)
    with bad_server() as url, crowd(url, pausing=1, pause_seconds=moments, awake_seconds=moments) as (made, until):
        pausing, healthy = made.tallies[Behaviour.PAUSING], made.tallies[Behaviour.HEALTHY]

        def is_behind() -> bool:
            sent = healthy.deliveries // 3
            publish(made, 20, first=sent + 1)
            until(lambda: healthy.deliveries == 3 * (sent + 20))
            return pausing.deliveries < sent

        for _ in range(2):
            until(is_behind)
            until(lambda: pausing.deliveries == healthy.deliveries // 3)
        assert (pausing.lost, pausing.duplicates, made.drops) == (0, 0, [])
        assert pausing.latency.max_ns > 10_000_000


def test_a_pausing_client_whose_server_has_left() -> None:
    """It is told when it reads again, and has no other pause."""
    pause, awake = Range(0.3, 0.3), Range(0.001, 0.001)
    with (
        bad_server(close_at=1) as url,
        crowd(url, pausing=4, pause_seconds=pause, awake_seconds=awake) as (made, until),
    ):
        until(lambda: len(made.engine.receivers) == 1)  # the publisher
        publish(made, 1)
        until(made.drop_counts.total)
        for step in range(1, 20):  # far into the next pauses, on a clock of its own
            made.tick(monotonic_ns() + step * 100_000_000)
        assert [(kind, cause[:4]) for kind, cause in made.drop_counts] == [(Behaviour.PAUSING, "4008")]
        assert made.open_clients()[Behaviour.PAUSING] == 3


def test_nobody_pauses_before_the_measurement() -> None:
    """The warm-up reaches all."""
    with bad_server() as url, crowd(url, started=False, pausing=1, awake_seconds=Range(0.001, 0.001)) as (made, until):
        client = next(client for client in made._open.values() if client.kind is Behaviour.PAUSING)
        connection, _ = client.opened
        assert connection.fd in made.engine.receivers
        made.start(monotonic_ns())
        until(lambda: connection.fd not in made.engine.receivers)


def test_buffers_of_the_kernel() -> None:
    """Small for those that read late, but no brake on a slow client that is fast; the default for all others."""
    plan = Plan(url="ws://h/", slow_bytes_per_second=Range(10_000_000, 10_000_000))
    found = {kind: receive_buffer(Client(Place(0, 0, kind), plan), plan) for kind in Behaviour}
    assert found == {
        Behaviour.HEALTHY: None,
        Behaviour.FLAPPING: None,
        Behaviour.PUBLISHER: None,
        Behaviour.STALLED: 8192,
        Behaviour.PAUSING: 65_536,
        Behaviour.REPLAYED: 65_536,
        Behaviour.SLOW: 400_000,
    }

"""From `publish` to the last write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import Pipe, TakesAll, devnull, stage
from benchmarks.ready_channel import PAYLOAD, Scene
from fanwise.core.dialect import JSON, PLAIN, SSE

from . import Scenario, Step

TEXT = PAYLOAD.decode()
FRAME_BYTES = 4 + len(PAYLOAD)


@contextmanager
def publish() -> Iterator[Step]:
    """256 publications to a channel with 1,000 clients that are behind: O(1) each, whatever they do."""
    with stage(queue_messages=1 << 20, queue_bytes=1 << 30) as place:
        broadcaster, hub = place.broadcaster, place.broadcaster._hub
        channel = hub.channel("lobby", time=0.0)
        for _ in range(1000):
            hub.subscribe(channel.name, time=0.0)
        hub.retention.max_messages = 1000

        def step() -> int:
            before = channel.log.head
            for _ in range(256):
                broadcaster.publish_nowait("lobby", TEXT)
            place.sweep(channel)  # finds nobody
            hub.retention.trim(0.0)  # as audits do
            return channel.log.head - before

        yield step


@contextmanager
def publish_and_turn() -> Iterator[Step]:
    """`publish`, and the turn of the loop that sweeps it to 8 clients, 16 times: no hop and no task in between."""
    with stage() as place, devnull(8) as fds:
        for fd in fds:
            place.enter(TakesAll(fd))
        channel = place.broadcaster._hub.channel("lobby", time=0.0)

        def step() -> int:
            before = channel.deliveries
            for _ in range(16):
                place.broadcaster.publish_nowait("lobby", TEXT)
                place.sweep(channel)
            return channel.deliveries - before

        yield step


@contextmanager
def sweep_one_to_1000() -> Iterator[Step]:
    """One publication to 1,000 clients: nothing per client but the write, nothing per cohort but the slice."""
    with devnull(1000) as fds:
        scene = Scene(fds, sweep_seconds=1e9)

        def step() -> int:
            before = scene.channel.deliveries
            scene.append(1)
            scene.sweep()
            return scene.channel.deliveries - before

        yield step
        scene.close()


@contextmanager
def sweep_one_to_1() -> Iterator[Step]:
    """One publication to one client, 16 times: what a sweep costs before it has written anything."""
    with devnull(1) as fds:
        scene = Scene(fds, sweep_seconds=1e9)

        def step() -> int:
            before = scene.channel.deliveries
            for _ in range(16):
                scene.append(1)
                scene.sweep()
            return scene.channel.deliveries - before

        yield step
        scene.close()


@contextmanager
def sweep_64_to_100() -> Iterator[Step]:
    """64 publications to 100 clients at once: encoded once, joined once, one write per client."""
    with devnull(100) as fds:
        scene = Scene(fds, sweep_seconds=1e9)

        def step() -> int:
            before = scene.channel.deliveries
            scene.append(64)
            scene.sweep()
            return scene.channel.deliveries - before

        yield step
        scene.close()


@contextmanager
def sweep_through_transports() -> Iterator[Step]:
    """Two publications to 100 clients without descriptors, as under TLS: one call of their transport each."""
    with stage() as place:
        for _ in range(100):
            place.enter(TakesAll())
        channel = place.broadcaster._hub.channel("lobby", time=0.0)

        def step() -> int:
            before = channel.deliveries
            place.broadcaster.publish_nowait("lobby", TEXT)
            place.broadcaster.publish_nowait("lobby", TEXT)
            place.sweep(channel)
            return channel.deliveries - before

        yield step


@contextmanager
def sweep_three_encodings() -> Iterator[Step]:
    """16 publications to 20 clients each of the plain dialect, the JSON dialect and SSE: encoded once for each."""
    with stage() as place, devnull(60) as fds:
        for at, fd in enumerate(fds):
            place.enter(TakesAll(fd), dialect=(PLAIN, JSON, SSE)[at % 3])
        channel = place.broadcaster._hub.channel("lobby", time=0.0)

        def step() -> int:
            before = channel.deliveries
            for _ in range(16):
                place.broadcaster.publish_nowait("lobby", TEXT)
            place.sweep(channel)
            return channel.deliveries - before

        yield step


@contextmanager
def short_write() -> Iterator[Step]:
    """64 publications to 4 clients whose sockets take half: they leave the group, catch up, and join it again."""
    with stage() as place:
        sinks = [Pipe() for _ in range(4)]
        for sink in sinks:
            place.enter(sink)
        channel = place.broadcaster._hub.channel("lobby", time=0.0)

        def step() -> int:
            for _ in range(64):
                place.broadcaster.publish_nowait("lobby", TEXT)
            place.sweep(channel)
            got = 0
            while channel.behind():
                got += sum(sink.read() for sink in sinks)
                place.loop.turn()
            return got + sum(sink.read() for sink in sinks)

        yield step


SCENARIOS = (
    Scenario("publish", publish, does=256),
    Scenario("publish-and-turn", publish_and_turn, does=16 * 8),
    Scenario("sweep-1-to-1", sweep_one_to_1, does=16),
    Scenario("sweep-1-to-1000", sweep_one_to_1000, does=1000),
    Scenario("sweep-64-to-100", sweep_64_to_100, does=6400),
    Scenario("sweep-through-transports", sweep_through_transports, does=200),
    Scenario("sweep-three-encodings", sweep_three_encodings, does=16 * 60),
    Scenario("short-write", short_write, does=4 * 64 * FRAME_BYTES),
)

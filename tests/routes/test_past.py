from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest

from fanwise.app import create_app
from fanwise.broadcaster.node import Node
from fanwise.core.counters import Histogram
from fanwise.core.reasons import CloseReason
from fanwise.routes import past as module
from fanwise.routes.past import POINTS, Past, PastRing
from fanwise.settings import load_settings

from ..broadcaster.test_node import joined
from ..support.live import running

pytestmark = pytest.mark.anyio
NOON = 1_763_812_800.0  # a multiple of twelve seconds


class Clock:
    """Both clocks of a ring."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@contextmanager
def ring_of(node: Node, **options: Any) -> Iterator[tuple[PastRing, Clock]]:
    clock = Clock()
    yield PastRing(node, clock=clock, timer=clock, **options), clock


def pass_time(ring: PastRing, clock: Clock, *, seconds: float) -> None:
    """Looks once a second, as the feed does."""
    for _ in range(int(seconds)):
        clock.now += 1
        ring.look()


async def read(ring: PastRing) -> dict[str, Any]:
    text = b"".join([part async for part in ring.parts()])
    document: dict[str, Any] = orjson.loads(text)
    assert Past.model_validate_json(text, strict=True).model_dump(mode="json") == document
    return document


async def test_a_point_has_what_was_counted_since_the_one_before() -> None:
    """At each twelfth second; without what has not changed."""
    async with Node() as node, joined(node):
        with ring_of(node) as (ring, clock):
            pass_time(ring, clock, seconds=11)
            assert len(ring) == 0
            node.publish_nowait("lobby", "x")
            node.tally.ready_age.observe(0.0015, 3)
            node.tally.close(CloseReason.SLOW, lag=7)
            pass_time(ring, clock, seconds=1)
            pass_time(ring, clock, seconds=12)
            one, two = (await read(ring))["points"]
            assert (one["at"], one["seconds"], one["clients"], one["publications"]) == (NOON + 12, 12, 1, 1)
            assert (one["dropped"], one["closed"]) == ({"closed_slow": 7}, {"slow": 1})
            bounds = (await read(ring))["bounds"]["ready_age_seconds"]
            ((index, times),) = one["histograms"]["ready_age_seconds"]
            assert (bounds[index - 1] < 0.0015 <= bounds[index], times) == (True, 3)
            assert (two["publications"], two["dropped"], two["closed"]) == (0, {}, {})
            assert two["histograms"]["ready_age_seconds"] == []


async def test_a_late_loop_is_the_worst_of_all_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only of the last one; and it begins anew with each point."""
    late = iter([0.5, *[0.001] * 23])
    async with Node() as node:
        monkeypatch.setattr(type(node._loop_lag), "worst_seconds", property(lambda _: next(late)))
        with ring_of(node) as (ring, clock):
            pass_time(ring, clock, seconds=24)
            assert [point["loop_lag_seconds"] for point in (await read(ring))["points"]] == [0.5, 0.001]


async def test_it_is_an_hour_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes, and has at most so many bytes; the oldest go first."""
    async with Node() as node:
        with ring_of(node) as (ring, clock):
            pass_time(ring, clock, seconds=12 * (POINTS + 10))
            points = (await read(ring))["points"]
            assert len(points) == POINTS
            assert points[-1]["at"] == clock.now
            assert ring.size_bytes == sum(map(len, ring.newest_first()))
            monkeypatch.setattr(module, "RING_BYTES", 10_000)
            pass_time(ring, clock, seconds=12)
            assert 9_000 < ring.size_bytes <= 10_000
            assert (await read(ring))["points"][-1]["at"] == clock.now


async def test_a_peer_that_reads_slowly_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets what is still there of what there was, and its answer ends."""
    monkeypatch.setattr(module, "POINTS", 4)
    async with Node() as node:
        with ring_of(node) as (ring, clock):
            pass_time(ring, clock, seconds=48)
            parts = ring.parts()
            text = await anext(parts) + await anext(parts)
            pass_time(ring, clock, seconds=24)
            text += b"".join([part async for part in parts])
            assert [point["at"] - NOON for point in orjson.loads(text)["points"]] == [12, 36, 48]


async def test_the_largest_points_fit() -> None:
    """An hour in which each counter that there is went up by a billion takes the bytes of the ring, and no more."""
    async with Node() as node:
        with ring_of(node) as (ring, clock):
            for _ in range(POINTS):
                for name in ("publications", "deliveries", "delivered_bytes"):
                    setattr(node.tally, name, getattr(node.tally, name) + 10**9)
                for name in node.tally.dropped:
                    node.tally.dropped[name] += 10**9
                for reason in node.tally.closed:
                    node.tally.closed[reason] += 10**9
                for histogram in vars_of(node):
                    histogram.counts[:] = [count + 10**9 for count in histogram.counts]
                pass_time(ring, clock, seconds=12)
            assert len(ring) == POINTS
            assert ring.size_bytes < module.RING_BYTES


def vars_of(node: Node) -> list[Histogram]:
    return [node.tally.lag, node.tally.ready_age, node.tally.catching_up_age]


async def test_a_clock_that_is_set() -> None:
    """Back: the points begin anew, as they go one way. A pause of the process is one long point."""
    async with Node() as node:
        with ring_of(node) as (ring, clock):
            pass_time(ring, clock, seconds=36)
            clock.now += 50
            ring.look()
            assert (await read(ring))["points"][-1]["seconds"] == 50
            clock.now = NOON
            ring.look()
            assert [point["at"] for point in (await read(ring))["points"]] == [NOON]


async def test_the_route() -> None:
    """For operators only; the feed fills the ring."""
    app = create_app(load_settings(api_key="12345678"))
    async with running(app) as live:
        assert (await live.request("GET", "/stats/past")).status == 401
        answer = await live.request("GET", "/stats/past", headers={"Authorization": "Bearer 12345678"})
        assert answer.status == 200
        assert set(answer.json["bounds"]) == {"ready_age_seconds", "catching_up_age_seconds", "lag_messages"}
        assert (answer.json["seconds"], answer.json["points"]) == (12, [])

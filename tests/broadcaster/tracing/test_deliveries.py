from __future__ import annotations

from functools import partial

import pytest

from fanwise.broadcaster.node import Node
from fanwise.broadcaster.tracing import deliveries as module
from fanwise.broadcaster.tracing.deliveries import Deliveries, Delivery, WatchedSweeper

from ...support.live import until
from ..test_node import joined

pytestmark = pytest.mark.anyio


class Watched(Node):
    """A node whose sweeps are watched, without OpenTelemetry."""

    def __init__(self) -> None:
        super().__init__(slice_bytes=1024)
        self.deliveries = Deliveries()
        self.ended: list[tuple[int, int, bool]] = []  # (offset, clients, whether it was written)
        self._publisher._make_sweeper = lambda loop, **about: WatchedSweeper(loop, deliveries=self.deliveries, **about)

    def watch(self, text: str, tags: dict[str, str] | None = None) -> None:
        publication = self.publish_nowait("lobby", text, tags=tags)
        channel = self._hub.find("lobby")
        assert channel is not None
        self.deliveries.watch(channel, Delivery(publication.offset, self.heard))

    def has_ended(self, number: int) -> bool:
        return len(self.ended) == number

    def heard(self, delivery: Delivery) -> None:
        self.ended.append((delivery.offset, delivery.clients, delivery.written > 0))


async def test_each_sweep_ends_its_own_deliveries() -> None:
    """With the clients that got it: all, or those whose filters let it through; over several slices, in order."""
    async with Watched() as node, joined(node) as (_, everything), joined(node) as (some, _):
        node.unsubscribe(some, "lobby")
        node.subscribe(some, "lobby", filter={"about": "some"})
        await until(lambda: node.statistics().channels[0].ready == 2)
        node.watch("for all", tags={"about": "some"})
        node.publish_nowait("lobby", "not watched")
        node.watch("for one", tags={"about": "others"})
        node.watch("x" * 2000)
        await until(lambda: len(node.ended) == 3)
        assert node.ended == [(1, 2, True), (3, 1, True), (4, 1, True)]
        assert node.deliveries.pending == {}
        assert len(b"".join(everything.written)) > 2000


async def test_a_client_that_is_behind_is_none_of_a_sweep() -> None:
    """The delivery ends all the same."""
    async with Watched() as node, joined(node) as (_, sink):
        await until(lambda: node.statistics().channels[0].ready == 1)
        sink.pause()
        node.watch("text")
        await until(lambda: bool(node.ended))
        assert node.ended == [(1, 0, False)]


async def test_what_is_watched_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound publications go without; room comes back with the sweeps."""
    monkeypatch.setattr(module, "MOST_WATCHED", 2)
    async with Watched() as node, joined(node):
        await until(lambda: node.statistics().channels[0].ready == 1)
        for ended in (2, 4):
            for _ in range(3):
                node.watch("text")
            await until(partial(node.has_ended, ended))
        assert [offset for offset, *_ in node.ended] == [1, 2, 4, 5]

from __future__ import annotations

import os

import pytest

from fanwise.broadcaster.client import Client
from fanwise.broadcaster.registry import ClientRegistry, ClosedClient, new_id
from fanwise.core.counters import Histogram
from fanwise.core.reasons import CloseReason

from ..core.test_hub import publish
from ..support.fakes import FakeSink
from .test_client import Scene

pytestmark = pytest.mark.anyio


def make_registry(sink: FakeSink | None = None) -> tuple[ClientRegistry, Scene, list[Client]]:
    left: list[Client] = []
    setting = Scene(sink or FakeSink())
    registry = ClientRegistry(leave=left.append, tally=setting.hub.tally)
    setting.host.changed = registry.changed
    setting.host.receiving = registry.note_receiving
    registry.add(setting.client)
    return registry, setting, left


async def test_a_client_is_counted_once() -> None:
    """However often it is added or changes."""
    registry, setting, _ = make_registry()
    registry.add(setting.client)
    assert list(registry) == [setting.client]


async def test_a_client_leaves_once() -> None:
    """Closing and closed are one departure, counted under the first reason."""
    registry, setting, left = make_registry()
    setting.client.close(CloseReason.SLOW)
    setting.sink.end(CloseReason.LOST)
    assert left == [setting.client]
    assert len(registry) == 0
    closed = setting.hub.tally.closed
    assert {reason: count for reason, count in closed.items() if count} == {CloseReason.SLOW: 1}


async def test_how_far_behind_it_was_is_kept_when_a_client_goes() -> None:
    """Also when no audit has seen it."""
    registry, setting, _ = make_registry()
    setting.sink.pause()
    for _ in range(3):
        publish(setting.hub, setting.channels["a"])
    setting.client.close()
    assert seen(setting.hub.tally.peak_lag) == {0: 1, 4: 1}
    assert len(registry) == 0


async def test_who_leaves_by_itself_was_not_dropped() -> None:
    """Whatever it has not read."""
    registry, setting, _ = make_registry()
    setting.sink.pause()
    publish(setting.hub, setting.channels["a"])
    setting.client.close()
    assert registry.closed[0].lag == 1
    assert sum(setting.hub.tally.dropped.values()) == 0


def seen(histogram: Histogram) -> dict[float, int]:
    """{upper end of the bucket: how many are in it}."""
    return {bound: count for bound, count in zip(histogram.bounds, histogram.counts, strict=False) if count}


async def test_it_remembers_the_latest_who_have_gone() -> None:
    """With their reason; not more than fit on a page. Each is told of."""
    registry, setting, _ = make_registry()
    told: list[ClosedClient] = []
    registry._on_closed = told.append
    setting.client.close(CloseReason.OPERATOR)
    assert registry.find(setting.client.id) is None
    (gone,) = registry.closed
    assert told == [gone]
    assert (gone.id, gone.address, gone.reason) == ("1", "somewhere:1", CloseReason.OPERATOR)
    assert gone.unix_seconds > 1e9
    assert registry.closed.maxlen == 200


async def test_an_empty_one_is_true() -> None:
    """`registry or other` takes the registry, whoever is in it."""
    registry = ClientRegistry(leave=lambda _client: None)
    assert len(registry) == 0
    assert registry


def test_a_process_that_is_forked_has_ids_of_its_own() -> None:
    new_id()  # there are others left
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    its = os.read(reading, 64).decode()
    os.close(reading)
    os.close(writing)
    ids = {new_id() for _ in range(200)}
    assert len(ids) == 200
    assert {len(one) for one in ids} == {16} == {len(its)}
    assert its not in ids

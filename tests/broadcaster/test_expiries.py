"""Clients end when their users do: each in time, many of them in turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fanwise import User
from fanwise.broadcaster import expiries as module
from fanwise.broadcaster.client import Client
from fanwise.broadcaster.node import Node
from fanwise.core.reasons import CloseReason

from ..support.fakes import FakeSink
from ..support.live import until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def node_with(count: int, **user: float) -> AsyncIterator[tuple[Node, list[Client]]]:
    async with Node(ready_lag_seconds=float("inf")) as node:
        yield node, [node.add_client(FakeSink(), user=User(f"{number}", **user)) for number in range(count)]


async def test_a_client_ends_with_its_user() -> None:
    """Within half a second; one without an end stays."""
    async with node_with(1, expires_at=time.time() + 0.1) as (node, (client,)):
        other = node.add_client(FakeSink(), user=User("other"))
        began = time.monotonic()
        await until(lambda: client.reason is not None)
        assert client.reason is CloseReason.EXPIRED
        assert time.monotonic() - began > 0.05
        assert other.reason is None
        assert not node._registry._expiring


async def test_another_time_takes_the_place_of_the_one_before() -> None:
    """Later, sooner, or never; and a closed client has no time."""
    async with node_with(3) as (node, (first, second, third)):
        for client in (first, second, third):
            node.expiries.set(client, time.time() + 3_600)
        node.expiries.set(first, time.time() - 5, CloseReason.UNAUTHORISED)
        node.expiries.set(second, None)
        await until(lambda: first.reason is not None)
        assert first.reason is CloseReason.UNAUTHORISED
        assert (second.reason, third.reason, list(node._registry._expiring)) == (None, None, [third])
        third.close()
        node.expiries.set(third, time.time())
        assert not node._registry._expiring
        second.close()


async def test_who_leaves_is_forgotten() -> None:
    """With the moments of those who are gone, however many there were."""
    async with node_with(0) as (node, _):
        for number in range(1_000):
            client = node.add_client(FakeSink(), user=User("a", expires_at=time.time() + 60 + number))
            client.close()
        assert not node._registry._expiring
        assert len(node.expiries._moments) < 100


async def test_many_that_end_together_are_closed_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn of the loop closes at least one, and no more than there is time for."""
    monkeypatch.setattr(module, "TURN_SECONDS", 0)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with node_with(200, expires_at=time.time()) as (_, clients):
        counter = asyncio.create_task(count())
        while not all(client.reason is CloseReason.EXPIRED for client in clients):  # noqa: ASYNC110 - turns are counted
            await asyncio.sleep(0)
        counter.cancel()
        assert turns >= 200


async def test_times_that_are_no_dates() -> None:
    """The far future, and what was before 1970."""
    async with node_with(2, expires_at=1e300) as (node, (first, second)):
        node.expiries.set(second, -1e300)
        await until(lambda: second.reason is CloseReason.EXPIRED)
        assert first.reason is None
        first.close()

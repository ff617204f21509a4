"""What ends is freed at once: full collections are too rare in a server to leave cycles to them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest

from fanwise.app import create_app, door_of
from fanwise.settings import load_settings

from ..support.live import Live, running, until
from .hostile.attackers import PING, TEXT, frame

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]


async def close(live: Live) -> None:
    async with await live.connect("/ws?channel=a") as client:
        await client.send("hello")
        assert await client.recv() == "Message: hello"


async def talk(live: Live) -> None:
    client = await live.talk()
    await client.ask(op="subscribe", channel="a")
    await client.websocket.close()


async def disappear(live: Live) -> None:
    peer = await live.raw("/ws?channel=a")
    peer.send(frame(TEXT, b"half of a message", final=False))
    peer.close()


async def flood(live: Live) -> None:
    peer = await live.raw("/ws?channel=a")
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        await loop.sock_sendall(peer, frame(PING) * 50_000)
        while await loop.sock_recv(peer, 65_536):
            continue
    peer.close()


async def watch(live: Live) -> None:
    async with live.events("/sse/a"):
        pass


async def ask_wrongly(live: Live) -> None:
    entries = b"[" + b"0," * 2_000 + b"0]"  # more than a batch may have
    answer = await live.request("POST", "/publish", entries, headers={"Content-Type": "application/json"})
    assert answer.status == 400


async def ask_invalidly(live: Live) -> None:
    assert (await live.request("GET", "/channels?limit=x")).status == 400


WAYS: list[Callable[[Live], Awaitable[None]]] = [close, talk, disappear, flood, watch, ask_wrongly, ask_invalidly]


@pytest.fixture(autouse=True)
def _frozen() -> None:
    """What was there before a test is left out of its collections: they would take a tenth of a second each."""
    gc.freeze()


@contextlib.contextmanager
def garbage() -> Iterator[list[Any]]:
    """Fills the list at its end: with all objects that only a full collection would have freed."""
    gc.collect()
    gc.disable()
    found: list[Any] = []
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def left_by(way: Callable[[Live], Awaitable[None]], live: Live) -> set[str]:
    """The types of ours that are left when `way` is gone a second time."""
    state = live.server.server_state
    await way(live)
    await until(lambda: not state.connections)
    with garbage() as found:
        await way(live)
        await until(lambda: not state.connections and not state.tasks)
    return {type(one).__name__ for one in found if type(one).__module__.startswith("fanwise")}


@pytest.mark.parametrize(
    ("ways", "door"), [(WAYS, False), ((close, talk, disappear, watch), True)], ids=["routes", "door"]
)
async def test_nothing_of_ours_waits_for_the_collector(
    ways: Sequence[Callable[[Live], Awaitable[None]]], door: bool
) -> None:
    """Neither connections with what they have received, nor errors with the requests that they refuse."""
    app = create_app(load_settings())
    async with running(app, door=door_of(app) if door else None) as live:
        left = {way.__name__: await left_by(way, live) for way in ways}
    assert {way: types for way, types in left.items() if types} == {}

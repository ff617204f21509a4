"""What ends is freed at once: full collections are too rare in a server to leave cycles to them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable, Iterator
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
    with contextlib.suppress(OSError):
        while True:
            await asyncio.get_running_loop().sock_sendall(peer, frame(PING) * 10_000)
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


@pytest.mark.parametrize(
    ("way", "door"), [*((way, False) for way in WAYS), *((way, True) for way in (close, talk, disappear, watch))]
)
async def test_nothing_of_ours_waits_for_the_collector(way: Callable[[Live], Awaitable[None]], door: bool) -> None:
    """Neither connections with what they have received, nor errors with the requests that they refuse."""
    app = create_app(load_settings())
    async with running(app, door=door_of(app) if door else None) as live:
        await way(live)
        await until(lambda: not live.server.server_state.connections)
        with garbage() as found:
            await way(live)
            await until(lambda: not live.server.server_state.connections and not live.server.server_state.tasks)
    assert {type(one).__name__ for one in found if type(one).__module__.startswith("fanwise")} == set()

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fanwise.backplane.options import History
from fanwise.core.publication import Position
from fanwise.errors import BackplaneDownError

from ...support.backplanes import Node
from ...support.nats import NatsEngine, NatsServer

pytestmark = pytest.mark.anyio
ALL = Position("none", 0)


async def test_histories_are_bounded(server: NatsServer) -> None:
    """In messages, in bytes and in age; the head stands nevertheless."""
    bounds: list[tuple[dict[str, Any], list[int]]] = [
        ({"history_messages": 5}, [6, 7, 8, 9, 10]),
        ({"history_bytes": 35}, [8, 9, 10]),
        ({"history_seconds": 0}, []),
        ({"history_messages": 0}, []),
        ({"history_of": lambda name: History(3 if name == "lobby" else 9, 1000, 60.0)}, [8, 9, 10]),
    ]
    for number, (bound, offsets) in enumerate(bounds):
        async with NatsEngine(server, f"bounds{number}", **bound) as engine, Node(engine.backplane()) as node:
            for _ in range(10):
                await node.publish("lobby", b"x" * 10)
            opened = await node.open("lobby", ALL)
            assert [one.offset for one in opened.publications] == offsets
            assert opened.head == 10


async def test_many_channels_are_opened(engine: NatsEngine) -> None:
    """While the link is cut; each is answered once."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
        futures = [one.ask(f"c{number}", None) for number in range(100)]
        await asyncio.sleep(0)
        engine.cut(one.backplane)
        opened = await asyncio.gather(*futures)
        again = await asyncio.gather(*(two.ask(f"c{number}", ALL) for number in range(100)))
        assert [one.epoch for one in opened] == [one.epoch for one in again]
        assert len({one.epoch for one in opened}) == 100


async def test_questions_do_not_wait_for_ever(engine: NatsEngine) -> None:
    """Nor do they when the server stops."""
    async with Node(engine.backplane()) as node:
        await engine.stall(stalled=True)
        futures = [node.ask(f"c{number}", None) for number in range(40)]
        errors = await asyncio.gather(*futures, return_exceptions=True)
        assert {type(error) for error in errors} == {BackplaneDownError}
        last = [node.ask(f"c{number}", None) for number in range(40)]
        await asyncio.sleep(0)
    errors = await asyncio.gather(*last, return_exceptions=True)
    assert {str(error) for error in errors} == {str(BackplaneDownError("the server stops"))}
    await engine.stall(stalled=False)

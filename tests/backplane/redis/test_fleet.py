from __future__ import annotations

import asyncio

import pytest

from fanwise.backplane.port import CARD_BYTES
from fanwise.backplane.redis.fleet import RedisFleet
from fanwise.errors import BackplaneDownError

from ...support.engines import RedisEngine, RedisServer, redis_server
from ...support.live import until

pytestmark = pytest.mark.anyio


async def connected(engine: RedisEngine) -> RedisFleet:
    fleet = engine.backplane().fleet()
    assert isinstance(fleet, RedisFleet)
    await fleet.start(lambda question, answer: answer(question))
    await until(lambda: fleet._dialled is not None)
    fleet.announce(b"card")
    return fleet


async def test_it_comes_back() -> None:
    """After a restart of the engine, with its card, and is asked again."""
    with redis_server() as server:
        async with RedisEngine(server, "back") as engine:
            one, two = await connected(engine), await connected(engine)
            server.restart()
            await until(lambda: one._dialled is None)
            with pytest.raises(BackplaneDownError):
                await one.workers()
            one.ask(b"lost", lambda *_: None)
            await until(lambda: one._dialled is not None and two._dialled is not None)
            assert await one.workers() == {one.worker: b"card", two.worker: b"card"}
            heard: dict[str, bytes] = {}
            one.ask(b"again", heard.__setitem__)
            await until(lambda: bool(heard))
            assert heard == {two.worker: b"again"}
            await asyncio.gather(one.stop(), two.stop())


async def test_what_others_wrote_is_checked(engine: RedisEngine) -> None:
    """Cards under other names, or that are too large, are left out; messages that are none do no harm."""
    fleet = await connected(engine)
    await until_listed(fleet)
    prefix = f"{engine.prefix}:{{0}}:"
    server: RedisServer = engine.server
    now = int((await server.ask("TIME"))[0]) * 1000
    for name, card in (("not a name", "x"), ("0000000b", "x" * (CARD_BYTES + 1)), ("0000000c", "fine")):
        await server.ask("ZADD", f"{prefix}workers", now, name)
        await server.ask("HSET", f"{prefix}cards", name, card)
    assert await fleet.workers() == {fleet.worker: b"card", "0000000c": b"fine"}
    assert await server.ask("PUBLISH", f"{prefix}ask", "\x00nonsense") == 1
    assert await server.ask("PUBLISH", f"{prefix}to:{fleet.worker}", "") == 1
    await until_listed(fleet)
    await fleet.stop()


async def test_old_cards_go(engine: RedisEngine) -> None:
    """Those of the future too: the clock may have been set back."""
    fleet = await connected(engine)
    await until_listed(fleet)
    prefix = f"{engine.prefix}:{{0}}:"
    now = int((await engine.server.ask("TIME"))[0]) * 1000
    for name, at in (("0000000b", now - 9_000), ("0000000c", now + 9_000)):
        await engine.server.ask("ZADD", f"{prefix}workers", at, name)
        await engine.server.ask("HSET", f"{prefix}cards", name, "x")
    assert list(await fleet.workers()) == [fleet.worker]
    assert await engine.server.ask("HLEN", f"{prefix}cards") == 1
    await fleet.stop()
    assert await engine.server.ask("EXISTS", f"{prefix}cards", f"{prefix}workers") == 0


async def test_an_engine_that_hangs_is_left(engine: RedisEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a card has waited for too long; what is sent meanwhile is bounded."""
    fleet = await connected(engine)
    await until_listed(fleet)
    await engine.stall(stalled=True)
    for _ in range(20):
        fleet._send("", bytes(1_000_000))
    assert fleet._waiting_bytes == 8_000_000
    fleet.announce(b"one")
    monkeypatch.setattr("fanwise.backplane.redis.fleet._SILENT_SECONDS", 0.0)
    fleet.announce(b"two")
    assert fleet._dialled is None
    assert fleet._waiting_bytes == 0
    await engine.stall(stalled=False)
    await until(lambda: fleet._dialled is not None)
    await until_listed(fleet)
    await fleet.stop()


async def until_listed(fleet: RedisFleet) -> None:
    while fleet.worker not in await fleet.workers():  # noqa: ASYNC110 - each look waits for an answer
        await asyncio.sleep(0)

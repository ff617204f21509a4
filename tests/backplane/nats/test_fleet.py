from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.backplane.nats.dial import api
from fanwise.backplane.nats.fleet import NatsFleet, Pieces
from fanwise.backplane.port import CARD_BYTES
from fanwise.errors import BackplaneDownError

from ...support.live import until
from ...support.nats import NatsEngine, nats_server

pytestmark = pytest.mark.anyio


async def connected(engine: NatsEngine) -> NatsFleet:
    fleet = engine.backplane().fleet()
    assert isinstance(fleet, NatsFleet)
    await fleet.start(lambda question, answer: answer(question))
    await until(lambda: fleet._link is not None)
    fleet.announce(b"card")
    await until_listed(fleet)
    return fleet


async def until_listed(fleet: NatsFleet) -> None:
    while fleet.worker not in await fleet.workers():  # noqa: ASYNC110 - each look waits for an answer
        await asyncio.sleep(0)


async def test_it_comes_back() -> None:
    """After a restart of the engine, with its card, and is asked again."""
    with nats_server() as server:
        async with NatsEngine(server, "back") as engine:
            one, two = await connected(engine), await connected(engine)
            lost = (None, one._link, two._link)
            server.restart()
            await until(lambda: one._link is None)
            with pytest.raises(BackplaneDownError):
                await one.workers()
            one.ask(b"lost", lambda *_: None)
            await until(lambda: one._link not in lost and two._link not in lost)
            await until_listed(one)
            await until_listed(two)  # links are back before the cards are
            assert await one.workers() == {one.worker: b"card", two.worker: b"card"}
            heard: dict[str, bytes] = {}
            one.ask(b"again", heard.__setitem__)
            await until(lambda: bool(heard))
            assert heard == {two.worker: b"again"}
            await asyncio.gather(one.stop(), two.stop())


async def test_what_others_wrote_is_checked(engine: NatsEngine) -> None:
    """Cards under other names, or that are too large, are left out; messages that are none do no harm."""
    fleet = await connected(engine)
    async with engine.server.link() as link:
        for name, card in (("nobody", b"x"), ("0000000b", b"x" * (CARD_BYTES + 1)), ("0000000c", b"fine")):
            await link.ask(f"{engine.prefix}.cards.{name}", card)
        assert await fleet.workers() == {fleet.worker: b"card", "0000000c": b"fine"}
        for message in (b"", b"\x00nonsense", b"0 1 0000000b\nnonsense"):
            link.publish(f"{engine.prefix}.ask", message)
        await link.ping()
        await until_listed(fleet)
        await fleet.stop()
        info = await api(link, f"STREAM.INFO.{engine.prefix}-cards", {"subjects_filter": ">"})
        assert f"{engine.prefix}.cards.{fleet.worker}" not in info["state"]["subjects"]
        assert info["config"]["max_age"] == 5_000_000_000


async def test_an_engine_that_hangs_is_left(engine: NatsEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a card has waited for too long; what is sent meanwhile is bounded."""
    fleet = await connected(engine)
    await engine.stall(stalled=True)
    link = fleet._link
    assert link is not None
    for _ in range(30):
        fleet._send("", bytes(1_000_000))
    assert link.unsent <= 8_388_608
    fleet.announce(b"one")
    monkeypatch.setattr("fanwise.backplane.nats.fleet._SILENT_SECONDS", 0.0)
    fleet.announce(b"two")
    assert fleet._link is None
    await engine.stall(stalled=False)
    await until(lambda: fleet._link is not None)
    await until_listed(fleet)
    await fleet.stop()


@given(st.lists(st.tuples(st.sampled_from(("0000000a", "0000000b")), st.binary(min_size=1, max_size=50)), max_size=6))
def test_pieces_are_joined(messages: list[tuple[str, bytes]]) -> None:
    """Those of several senders between each other, as they come."""
    senders: dict[str, Iterator[bytes]] = {
        name: iter([piece for sender, text in messages if sender == name for piece in Pieces.cut(text, name, 40)])
        for name in ("0000000a", "0000000b")
    }
    pieces, joined = Pieces(), []
    while senders:
        for name in list(senders):
            piece = next(senders[name], None)
            if piece is None:
                del senders[name]
            elif (message := pieces.join(piece)) is not None:
                joined.append((name, message))
    assert sorted(joined) == sorted(messages)
    assert pieces._bytes == 0


def test_pieces_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is never complete, or of which a piece is lost, is dropped."""
    monkeypatch.setattr("fanwise.backplane.nats.fleet._WAITING_BYTES", 100)
    pieces = Pieces()
    for sender in range(20):
        assert pieces.join(b"0 2 %08x\n0123456789" % sender) is None
    assert pieces._bytes == 100
    assert pieces.join(b"1 2 %08x\nx" % 0) is None
    assert pieces.join(b"1 2 %08x\nx" % 19) == b"0123456789x"
    assert pieces.join(b"0 3 0000000a\na") is pieces.join(b"2 3 0000000a\nc") is None
    assert pieces.join(b"1 3 0000000a\nb") is None

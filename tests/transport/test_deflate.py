"""permessage-deflate (RFC 7692): what is agreed on, one compression for all clients, and what peers may send."""

from __future__ import annotations

import asyncio
import random
import socket
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from fanwise.app import create_app
from fanwise.broadcaster.node import Node
from fanwise.core.deflate import TAIL
from fanwise.settings import load_settings
from fanwise.transport.deflate import INFLATED_A_TURN, InflatingIncoming, answer_to, inflate
from fanwise.transport.limits import Limits

from ..support.live import Live, Talk, echo, running, until
from .test_door import PLAIN, answer

pytestmark = pytest.mark.anyio
NONE_KEPT = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
MAX_BYTES = 100_000
PRICES = '{"symbol": "AAA", "price": 100.25, "side": "buy"}' * 20
# {offers: the answer}
OFFERS = {
    "permessage-deflate": NONE_KEPT,
    "permessage-deflate; client_max_window_bits": NONE_KEPT,
    "permessage-deflate; client_max_window_bits=10": f"{NONE_KEPT}; client_max_window_bits=10",
    "permessage-deflate; server_no_context_takeover": NONE_KEPT,
    "permessage-deflate; server_max_window_bits=15": f"{NONE_KEPT}; server_max_window_bits=15",
    "permessage-deflate; server_max_window_bits=12": None,
    "permessage-deflate; server_max_window_bits=12, permessage-deflate": NONE_KEPT,
    "permessage-deflate, permessage-deflate; server_max_window_bits=12": NONE_KEPT,
    "permessage-deflate; server_max_window_bits=16": None,
    "permessage-deflate; server_max_window_bits": None,
    "permessage-deflate; server_no_context_takeover=1": None,
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover": None,
    "permessage-deflate; unknown": None,
    "x-webkit-deflate-frame": None,
    "x-webkit-deflate-frame, permessage-deflate": NONE_KEPT,
}


def deflated(data: bytes, *, head: int = 0xC1, mask: bytes = bytes(4)) -> bytes:
    """A client's frame with `data` compressed."""
    return framed(shrunk(data), head=head, mask=mask)


def shrunk(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def framed(payload: bytes, *, head: int, mask: bytes = bytes(4)) -> bytes:
    plain = bytearray(Frame(Opcode.BINARY, payload).serialize(mask=True))
    plain[0], at = head, len(plain) - len(payload)
    plain[at - 4 :] = mask + payload  # zeros, so that the payload is as it was
    return bytes(plain)


@asynccontextmanager
async def compressing() -> AsyncIterator[tuple[Live, Node]]:
    """A server that compresses, with its door."""
    app = create_app(load_settings(compress_from_bytes=200))
    async with running(app, door=app.state.door, deflate=True) as live:
        live.server.config.ws_max_size = MAX_BYTES
        yield live, app.state.broadcaster


async def deflating(live: Live, path: str = "/ws", **options: Any) -> ClientConnection:
    websocket = await connect(f"ws://127.0.0.1:{live.port}{path}", proxy=None, max_size=None, **options)
    assert [one.name for one in websocket.protocol.extensions] == ["permessage-deflate"]
    return websocket


async def end_of(live: Live, frames: bytes, *, agreed: bool = True) -> int:
    """The close code that `frames` are answered with."""
    websocket = await (deflating(live) if agreed else live.connect())
    websocket.transport.write(frames)
    with pytest.raises(ConnectionClosedError) as closed:
        await websocket.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


# The handshake.


@pytest.mark.parametrize("offers", OFFERS)
def test_what_is_agreed_on(offers: str) -> None:
    """Neither side takes a context over. A smaller window than the frames for all have is not agreed on."""
    assert answer_to(offers) == OFFERS[offers]
    assert answer_to(f"{offers}, {'x' * 300}") == OFFERS[offers]


async def test_the_door_and_the_long_way_agree_on_the_same() -> None:
    """For each offer, in one field or more; what cannot be read is refused."""
    through, around = (create_app(load_settings(compress_from_bytes=200)) for _ in range(2))
    async with (
        running(through, door=through.state.door, deflate=True) as door,
        running(around, deflate=True) as long_way,
    ):
        for offers in (*OFFERS, "permessage-deflate;;", "=", "permessage-deflate\r\nSec-WebSocket-Extensions: other"):
            fields = f"{PLAIN}\r\nSec-WebSocket-Extensions: {offers}"
            answers = [await answer(door, "/ws", fields), await answer(long_way, "/ws", fields)]
            assert answers[0] == answers[1], offers
            agreed = OFFERS.get(offers, NONE_KEPT if "other" in offers else None)
            found = [line for line in answers[0] if line.startswith(b"sec-websocket-extensions")]
            assert found == ([f"sec-websocket-extensions: {agreed}".encode()] if agreed else []), offers


@pytest.mark.parametrize("way", ["door", "long way"])
async def test_nothing_is_agreed_on_by_default(way: str) -> None:
    """Compression is off, and nothing of it is in the answer."""
    app = create_app(load_settings())
    async with running(app, door=app.state.door if way == "door" else None) as live:
        lines = await answer(live, "/ws", f"{PLAIN}\r\nSec-WebSocket-Extensions: permessage-deflate")
        assert not [line for line in lines if b"extensions" in line]


# What clients are sent.


async def test_a_publication_is_compressed_once_for_all() -> None:
    """Clients with and without compression get the same; those of one dialect share one frame."""
    async with compressing() as (live, broadcaster):
        clients = [await deflating(live) for _ in range(10)]
        plain = await live.connect()
        await until(lambda: len(broadcaster) == 11)
        for payload in (PRICES, PRICES.encode(), "small", random.Random(1).randbytes(300)):
            await broadcaster.publish("lobby", payload)
            assert [await client.recv() for client in (*clients, plain)] == [payload] * 11
        tally = broadcaster.tally
        assert (tally.compressions, tally.compressed_bytes) == (3, 2 * len(PRICES) + 300)
        assert {client.dialect for client in broadcaster.statistics().clients} == {"plain", "plain+deflate"}
        for client in (*clients, plain):
            await client.close()


async def test_a_resumed_stream_is_of_the_same_frames() -> None:
    """What was compressed for others comes from the log, and what was not is compressed once."""
    async with compressing() as (live, broadcaster):
        first = await broadcaster.publish("news", {"text": PRICES})
        clients = []
        for _ in range(3):
            websocket = await deflating(live, subprotocols=[Subprotocol("fanwise.v1")])
            clients.append(talk := Talk(websocket))
            assert (await talk.hear())["op"] == "welcome"
            await talk.say(op="subscribe", channel="news", since={"epoch": first.epoch, "offset": 0})
            assert (await talk.hear())["recovered"] is True
            message = await talk.hear()
            assert (message["offset"], message["data"]) == (1, {"text": PRICES})
        await broadcaster.publish("news", PRICES)
        assert [(await talk.hear())["data"] for talk in clients] == [PRICES] * 3
        assert broadcaster.tally.compressions == 2
        for talk in clients:
            await talk.websocket.close()


async def test_frames_are_compressed_on_the_wire() -> None:
    """RSV1 is set, and a quarter of the bytes is sent. Answers of the server are not compressed."""
    async with compressing() as (live, broadcaster):
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        fields = f"{PLAIN}\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: fanwise.v1"
        writer.write(f"GET /ws HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        assert (await reader.readexactly(1))[0] == 0x81
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(framed(b'{"op":"subscribe","channel":"lobby"}', head=0x81))
        assert (await reader.readexactly(1))[0] == 0x81
        await reader.readexactly((await reader.readexactly(1))[0])
        await broadcaster.publish("lobby", PRICES)
        head, length = await reader.readexactly(2)
        assert (head, length) < (0xC1, 126)
        message = zlib.decompressobj(-15).decompress(await reader.readexactly(length) + TAIL)
        assert message.startswith(b'{"op":"message","channel":"lobby","offset":1,"data":"{')
        writer.close()


async def test_a_slow_client_gets_every_frame() -> None:
    """A socket that takes part of a slice: what is left of it is in the log, in the right place."""
    asgi, broadcaster = echo(compress_from_bytes=200)
    async with running(asgi, deflate=True) as live:
        peer = socket.create_connection(("127.0.0.1", live.port))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        slow = await deflating(live, sock=peer)
        await until(lambda: len(broadcaster) == 1)
        slow.transport.pause_reading()
        numbers = random.Random(2)
        sent = [numbers.randbytes(1_000).hex() for _ in range(500)]
        for payload in sent:
            await broadcaster.publish("lobby", payload)
        await until(lambda: any(client.lag for client in broadcaster.statistics().clients))
        slow.transport.resume_reading()
        assert [await slow.recv() for _ in sent] == sent
        assert broadcaster.tally.compressions == len(sent)
        await slow.close()


# What peers send.


async def test_messages_of_peers_are_inflated() -> None:
    """Of all sizes, whole and in fragments, with control frames between, and beside plain ones."""
    asgi, broadcaster = echo(max_message_bytes=200_000)
    async with running(asgi, deflate=True) as live:
        factories = [
            ClientPerMessageDeflateFactory(client_max_window_bits=bits, compress_settings={"level": 1})
            for bits in (True, 9)
        ]
        for factory in factories:
            websocket = await deflating(live, compression=None, extensions=[factory])
            await until(lambda: len(broadcaster) == 1)
            numbers = random.Random(3)
            for size in (0, 1, 125, 126, 2_043, 2_044, 65_535, 65_536, 200_000):
                for payload in ("zwölf"[: size % 6] + "x" * (size - size % 6), numbers.randbytes(size)):
                    await websocket.send(payload)
                    assert await websocket.recv() == payload
            for fragments in (["zwölf", "", "hundert", "x" * 500], [b"\xff", b"\x00\xfe"]):
                await websocket.send(fragments)
                assert await websocket.recv() == fragments[0][:0].join(fragments)  # type: ignore[arg-type]
            whole = shrunk("für".encode())
            between = framed(whole[:2], head=0x41) + framed(b"", head=0x89) + framed(whole[2:], head=0x80)
            websocket.transport.write(between + framed(b"plain", head=0x81) + deflated(b"last", head=0xC2))
            assert [await websocket.recv() for _ in range(3)] == ["für", "plain", b"last"]
            await websocket.close()
            await until(lambda: len(broadcaster) == 0)


BOMB = b"x" * (MAX_BYTES + 1)
HALF = len(shrunk(BOMB)) // 2
BAD = {
    "a bomb": (deflated(BOMB), 1009),
    "a bomb in fragments": (
        framed(shrunk(BOMB)[:HALF], head=0x41) + framed(shrunk(BOMB)[HALF:], head=0x80),
        1009,
    ),
    "a bomb behind a full message": (
        framed(shrunk(b"x" * MAX_BYTES) + TAIL, head=0x41) + framed(shrunk(b"x" * 10_000_000), head=0x80),
        1009,
    ),
    "too many bytes compressed": (framed(bytes(60_000), head=0x41) + framed(bytes(60_000), head=0x80), 1009),
    "a frame that is too large": (framed(bytes(MAX_BYTES + 1), head=0xC2), 1009),
    "no compression": (framed(b"\xff\xff\xff\xff", head=0xC1), 1002),
    "a compressed fragment that is not the first": (
        framed(b"a", head=0x01) + framed(shrunk(b"b"), head=0xC0),
        1002,
    ),
    "a compressed message in another": (framed(b"a", head=0x01) + deflated(b"b"), 1002),
    "a compressed ping": (deflated(b"b", head=0xC9), 1002),
    "another reserved bit": (deflated(b"b", head=0xE1), 1002),
    "bad text": (deflated(b"\xff"), 1007),
    "bad text in fragments": (framed(shrunk(b"\xc3")[:1], head=0x41) + framed(shrunk(b"\xc3")[1:], head=0x80), 1007),
}


async def test_what_is_wrong_ends_the_connection() -> None:
    """With the code that says why; a bomb is inflated up to the largest message and not further."""
    asgi, _ = echo(max_message_bytes=MAX_BYTES)
    async with running(asgi, deflate=True) as live:
        live.server.config.ws_max_size = MAX_BYTES
        *codes, plain = await asyncio.gather(
            *(end_of(live, frames) for frames, _ in BAD.values()), end_of(live, deflated(b"x"), agreed=False)
        )
    assert dict(zip(BAD, codes, strict=True)) == {name: code for name, (_, code) in BAD.items()}
    assert plain == 1002  # without an agreement, as for every reserved bit (RFC 6455 section 5.2)


def test_inflating_is_bounded() -> None:
    """By the largest message, to the byte; a stream may end by itself (RFC 7692 section 7.2.3.5)."""
    assert inflate(shrunk(b"x" * 1000), max_bytes=1000) == b"x" * 1000
    assert inflate(shrunk(b"x" * 1001), max_bytes=1000) is None
    assert inflate(shrunk(b"x"), max_bytes=0) is None
    assert inflate(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", max_bytes=5) == b"Hello"
    bomb = shrunk(bytes(20_000_000))
    tracemalloc.start()
    try:
        assert inflate(bomb, max_bytes=MAX_BYTES) is None
        assert tracemalloc.get_traced_memory()[1] < 10 * MAX_BYTES
    finally:
        tracemalloc.stop()


async def test_one_turn_inflates_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of large messages, compressed to some bytes each, is taken in over many turns, in its order."""
    turns: list[int] = []
    feed = InflatingIncoming.feed

    def count(self: InflatingIncoming, data: bytes = b"") -> None:
        before = self.budget.bytes
        feed(self, data)
        turns.append(round(before - self.budget.bytes - len(data)) // 8)

    monkeypatch.setattr(InflatingIncoming, "feed", count)
    asgi, broadcaster = echo(max_message_bytes=MAX_BYTES, queue_bytes=64 << 20)
    async with running(asgi, deflate=True, limits=Limits(bytes_per_second=1 << 40)) as live:
        websocket = await deflating(live)
        await until(lambda: len(broadcaster) == 1)
        texts = [f"{number} " + "x" * 30_000 for number in range(20)]
        frames = [deflated(texts[0].encode()), framed(b"plain", head=0x81), framed(bytes(200), head=0x82)]
        websocket.transport.write(b"".join([*frames, *(deflated(text.encode()) for text in texts[1:])]))
        expected = [texts[0], "plain", bytes(200), *texts[1:]]
        assert [await websocket.recv() for _ in expected] == expected
        await websocket.close()
    assert max(turns) <= INFLATED_A_TURN + len(texts[-1])
    assert sum(turns) >= 20 * 30_000


async def test_inflated_bytes_are_paid_for() -> None:
    """A byte that was inflated takes eight of the budget: a peer that sends such messages is paced early."""
    limits = Limits(bytes_per_second=100_000)
    asgi, broadcaster = echo(max_message_bytes=MAX_BYTES)
    async with running(asgi, deflate=True, limits=limits) as live:
        websocket = await deflating(live)
        await until(lambda: len(broadcaster) == 1)
        (connection,) = live.websockets
        websocket.transport.write(deflated(b"x" * 50_000))
        assert len(await websocket.recv()) == 50_000
        assert connection.budget.bytes < 0
        assert not connection.transport.is_reading()
        websocket.transport.abort()


async def test_a_connection_keeps_nothing_for_it() -> None:
    """Neither while it is idle nor between two messages: one object for all says that it was agreed on."""
    async with compressing() as (live, broadcaster):
        clients = [await deflating(live) for _ in range(2)]
        plain = await live.connect()
        await until(lambda: len(broadcaster) == 3)
        await broadcaster.publish("lobby", PRICES)
        assert [await client.recv() for client in (*clients, plain)] == [PRICES] * 3
        assert sorted(one.deflates for one in live.websockets) == [False, True, True]
        assert [one._incoming for one in live.websockets] == [None] * 3
        encodings = {id(client.outbox.dialect) for client in broadcaster._registry}
        assert len(encodings) == 2
        for client in (*clients, plain):
            await client.close()

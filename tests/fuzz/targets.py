"""What becomes of an input. Each target takes bytes, and raises when something does not hold.

The first bytes of a stream cut the rest into pieces: hypothesis, the corpus and atheris speak of the same thing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from fanwise.core.publication import Kind, Position, check_channel_name
from fanwise.core.reasons import CloseReason
from fanwise.core.trace_reader import read_trace
from fanwise.errors import ChannelNameError, PositionError, TraceError
from fanwise.routes.json_models import DIALECT_CODES, OpError, parse_op

from ..support.live import handshake
from ..support.traces import block, encoded
from ..transport.letter.library import compare
from ..transport.letter.wire import CLOSE, PING, PONG, TEXT, close, frame, read_frame, read_to_end
from .world import KEY, World, say_all

MOST_PIECES = 8
FITTING = 8  # flag of a trace's first byte: the pieces are contents of blocks whose checksums fit
EXACT_SECONDS = 1e9  # up to which a float has all microseconds
# What a server may close with: our reasons, and what the library says to broken frames. Else it echoes.
CODES = {reason.code for reason in CloseReason} | {1000, 1002, 1007, 1009}
STATUSES = {200, 400, 401, 403, 404, 405, 406, 408, 409, 411, 413, 415, 422, 426, 429, 431}
KEYED = f"Authorization: Bearer {KEY}\r\n".encode()


def pieces_of(data: bytes) -> list[bytes]:
    """The input in pieces: a byte says how many, and each cut takes two."""
    if not data:
        return []
    count = data[0] % MOST_PIECES
    rest = data[1 + 2 * count :]
    cuts = sorted(int.from_bytes(data[1 + 2 * at : 3 + 2 * at]) % (len(rest) + 1) for at in range(count))
    edges = [0, *cuts, len(rest)]
    return [rest[left:right] for left, right in pairwise(edges)]


def fuzz_frames(data: bytes) -> None:
    """The frame reader and the library agree on the stream."""
    compare(pieces_of(data))


def fuzz_websocket(data: bytes, world: World) -> None:
    """A connection that was accepted is closed in time, with a code that is known."""
    pieces = pieces_of(data)

    async def talk() -> list[tuple[int, bytes]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.live.port)
        writer.write(handshake("/ws").replace(b"\r\n\r\n", b"\r\n" + KEYED + b"\r\n"))
        await reader.readuntil(b"\r\n\r\n")
        await say_all(writer, pieces)
        try:
            return await read_to_end(reader, writer)
        finally:
            writer.close()

    for opcode, payload in world.run(talk()):
        if opcode == CLOSE and payload:
            code = int.from_bytes(payload)
            assert code in CODES or 1000 <= code < 5000, f"closed with {code}"


def fuzz_http(data: bytes, world: World) -> None:
    """The front door answers or closes, and no answer is an error of the server."""
    got = world.run(world.answer(*pieces_of(data)))
    for line in got.split(b"HTTP/1.1 ")[1:]:
        if line[:3].isdigit():
            assert int(line[:3]) < 500 or line.startswith(b"503"), got[:500]
    assert got == b"" or got.startswith(b"HTTP/1.1 "), got[:100]


def fuzz_op(data: bytes) -> None:
    """A message is one of the three operations, or refused with a code and what can be echoed."""
    for kind in (Kind.TEXT, Kind.BINARY):
        refused = None
        try:
            parse_op(data, kind)
        except OpError as error:
            refused = error
        if refused is not None:
            assert refused.code in DIALECT_CODES
            json.dumps(refused.about)
            assert len(str(refused)) < 2_000, "a refusal that repeats what it refuses"


def fuzz_ops(data: bytes, world: World) -> None:
    """A client of the JSON dialect that says anything is answered, and can go on."""

    async def talk() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.live.port)
        head = b"\r\nSec-WebSocket-Protocol: fanwise.v1\r\n" + KEYED + b"\r\n"
        writer.write(handshake("/ws").replace(b"\r\n\r\n", head))
        await reader.readuntil(b"\r\n\r\n")
        for line in data.split(b"\n"):
            text = line[:1_900].decode(errors="replace").encode()[:1_900].decode(errors="ignore").encode()
            writer.write(frame(TEXT, text))
        writer.write(frame(PING, b"still here?"))
        opcode, payload = await read_frame(reader)
        while opcode == TEXT:
            assert json.loads(payload)["op"] in {
                "welcome", "subscribed", "unsubscribed", "published", "message", "gap", "error"
            }  # fmt: skip
            opcode, payload = await read_frame(reader)
        assert (opcode, payload) == (PONG, b"still here?")
        writer.write(close(1000))
        assert (await read_to_end(reader, writer))[-1] == (CLOSE, (1000).to_bytes(2))
        writer.close()

    world.run(talk())


def fuzz_names(data: bytes, world: World) -> None:
    """Channel names, positions, keys, subprotocols: in a path, in a query, in headers."""
    name, position, key, protocol = (data.split(b"\n", 3) + [b""] * 4)[:4]
    text = name.decode(errors="replace")
    try:
        check_channel_name(text)
        valid = True
    except ChannelNameError:
        valid = False
    for raw in (position.decode("latin-1"), position.decode(errors="replace")):
        with contextlib.suppress(PositionError):
            assert str(Position.parse(raw)).partition(":")[0] == raw.partition(":")[0]
    for request, allowed in requests(name, position, key, protocol):
        got = world.run(world.answer(request))
        status = int(got[9:12]) if got else 0
        assert not got or status in allowed, (request, got[:300])
        assert valid or status != 200 or not request.startswith(b"POST"), (request, got)


def requests(name: bytes, position: bytes, key: bytes, protocol: bytes) -> Iterator[tuple[bytes, set[int]]]:
    """Requests with these values, and the statuses that each may be answered with."""
    path, since = quote(name[:1_000], safe="").encode(), quote(position[:500]).encode()
    event_id, key, protocol = (value.translate(None, b"\r\n\0")[:4_000] for value in (position, key, protocol))
    end = b"Host: 127.0.0.1\r\nConnection: close\r\n"
    holds_key = key.strip(b" \t") == KEY.encode()
    yield b"GET /channels/%s/history?since=%s HTTP/1.1\r\n%s%s\r\n" % (path, since, end, KEYED), STATUSES
    yield b"GET /channels/x%%2F%s HTTP/1.1\r\n%s\r\n" % (path, end), STATUSES
    end += b"Content-Length: 1\r\n"
    publish = b"POST /publish/%s HTTP/1.1\r\n%s" % (path, end)
    yield publish + b"Idempotency-Key: %s\r\n%s\r\nx" % (key, KEYED), STATUSES
    yield publish + b"Authorization: Bearer %s\r\n\r\nx" % key, STATUSES if holds_key else STATUSES - {200}
    upgrade = handshake("/ws?channel=" + path.decode()).removesuffix(b"\r\n")
    yield upgrade + b"Sec-WebSocket-Protocol: %s\r\n\r\n" % protocol, STATUSES | {101}
    yield b"GET /sse/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nLast-Event-ID: %s\r\n\r\n" % (path, event_id), STATUSES


def fuzz_trace(data: bytes) -> None:
    """What is read of a trace is right, or there is an error with a place. Half of the inputs are blocks' contents."""
    pieces = pieces_of(data)
    if data and data[0] & FITTING:
        chunks = [encoded(), *(block(piece) for piece in pieces if piece)]
    else:
        chunks = [piece for piece in pieces if piece]
    size, found = sum(map(len, chunks)), list[Any]()
    refused = None
    try:
        found.extend(read_trace(chunks))
    except TraceError as error:
        refused = error
    if refused is not None:
        assert 0 <= refused.offset <= size
        assert 0 < len(refused.problem) < 300, "an error that repeats what it refuses"
    assert len(found) <= 1 + size
    times = [record.at for record in found[1:]]
    assert times == sorted(times)
    if found and times[-1:] < [EXACT_SECONDS]:
        assert list(read_trace([encoded(*found[1:], header=found[0])])) == found


PURE: dict[str, Callable[[bytes], None]] = {"frames": fuzz_frames, "op": fuzz_op, "trace": fuzz_trace}
LIVE: dict[str, Callable[[bytes, World], None]] = {
    "websocket": fuzz_websocket,
    "http": fuzz_http,
    "ops": fuzz_ops,
    "names": fuzz_names,
}

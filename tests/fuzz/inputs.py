"""How hypothesis makes inputs: what a peer may say, then damaged, joined and cut."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from fanwise.core.trace import FRAME_BYTES, Record, TraceEncoder

from ..support.live import handshake
from ..support.traces import HEADER, STORY, block, encoded
from ..transport.letter.wire import close, frame
from .targets import FITTING, KEYED, MOST_PIECES
from .world import KEY

OPCODES = st.sampled_from([0, 1, 2, 8, 9, 10] * 3 + list(range(16)))
SIZES = st.sampled_from([124, 125, 126, 127, 1_999, 2_000, 2_001])
PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=12).map(str.encode),
    SIZES.map(lambda size: b"x" * size),
    st.sampled_from([b"\xed\xa0", b"\x80", b"\xc3", b"\xf4\x90", b"\xf0\x9f\x8e\x89"]),
)
# The same frames without a fault are drawn more often: a fault ends the stream.
FRAMES = st.one_of(
    st.builds(frame, st.sampled_from([0, 1, 1, 2, 9, 10]), PAYLOADS, fin=st.sampled_from([True, True, False])),
    st.builds(
        frame,
        OPCODES,
        PAYLOADS,
        fin=st.booleans(),
        rsv=st.sampled_from([0] * 6 + [1, 2, 4, 7]),
        mask=st.sampled_from([b"\x01\x02\x03\x04"] * 6 + [b"", bytes(4)]),
        length_bytes=st.sampled_from([0, 0, 0, 2, 8]),
    ),
    st.builds(close, st.one_of(st.none(), st.integers(990, 1020), st.integers(0, 65_535)), st.binary(max_size=8)),
    st.binary(max_size=20),
)


def prefixed(stream: bytes, cuts: list[int]) -> bytes:
    """The stream with the bytes before it that say where it is cut."""
    return bytes([len(cuts)]) + b"".join(cut.to_bytes(2) for cut in cuts) + stream


CUTS = st.lists(st.integers(0, 65_535), max_size=MOST_PIECES - 1)
STREAMS = st.builds(prefixed, st.lists(FRAMES, max_size=8).map(b"".join), CUTS)

HOST = b"Host: 127.0.0.1\r\n"
JSON_TYPE = b"Content-Type: application/json\r\n"
TOKENS = st.sampled_from(
    [b"GET", b"POST", b"DELETE", b"PRI", b" ", b"\t", b"/", b"/healthz", b"/publish/lobby", b"/sse/lobby", b"/ws",
     b"/%0a",
     b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\n", b"\r", b"\0", b":", b"\r\n\r\n",
     b"Host: 127.0.0.1\r\n", b"Host: ", b"Content-Length: 2\r\n", b"Content-Length: 0\r\n", b"Content-Length: -1\r\n",
     b"Content-Length: 99999999999999999999\r\n", b"Content-Length: 2, 2\r\n", b"Content-Length: +2\r\n",
     b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: identity\r\n",
     b"Transfer-Encoding : chunked\r\n", b" Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
     b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n",
     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Sec-WebSocket-Version: 13\r\n", b"hi", b"2\r\nhi\r\n",
     b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"ffffffffffffffff\r\n", b"2;a=b\r\nhi\r\n", b"-2\r\nhi\r\n", b"A: b\r\n",
     b"A: " + b"x" * 9_000 + b"\r\n", b"A: b\r\n" * 101, KEYED]
)  # fmt: skip
WHOLE = st.sampled_from(
    [b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
     b"POST /publish/lobby HTTP/1.1\r\n" + HOST + KEYED + b"Content-Length: 2\r\n\r\nhi",
     b"POST /publish/lobby HTTP/1.1\r\n" + HOST + KEYED + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
     b"POST /publish HTTP/1.1\r\n" + HOST + KEYED + JSON_TYPE + b"Content-Length: 2\r\n\r\n{}",
     handshake("/ws"), handshake("/live")]
)  # fmt: skip


def damaged(request: bytes, at: int, token: bytes, gone: int) -> bytes:
    place = at % (len(request) + 1)
    return request[:place] + token + request[place + gone :]


REQUESTS = st.one_of(
    WHOLE,
    st.builds(damaged, WHOLE, st.integers(0, 400), st.one_of(TOKENS, st.binary(max_size=4)), st.integers(0, 6)),
    st.lists(TOKENS, max_size=12).map(b"".join),
)
DOORS = st.builds(prefixed, st.lists(REQUESTS, min_size=1, max_size=3).map(b"".join), CUTS)

NAMES = st.one_of(
    st.sampled_from(
        ["lobby", "a:b/c.d-e_f", "", "/", "..", "a\n", "a b", "é", "x" * 255, "x" * 256, "%00", "lobby\u200b"]
    ),
    st.text(max_size=10),
)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["subscribe", "unsubscribe", "publish", "base64", "aGk=", "x" * 300, 2**63, -(2**63) - 1, 1e308]),
)  # fmt: skip
JSON = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
POSITIONS = st.one_of(
    st.fixed_dictionaries({}, optional={"epoch": VALUES, "offset": VALUES}), VALUES,
)  # fmt: skip
OPS = st.one_of(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["subscribe", "unsubscribe", "publish"])},
        optional={"channel": NAMES, "data": JSON, "since": POSITIONS, "id": VALUES, "key": VALUES, "encoding": VALUES},
    ).map(json.dumps),
    JSON.map(json.dumps),
    st.text(max_size=20),
    st.sampled_from(
        ["[" * 900, '{"op":' * 300, '{"op":"publish","op":"subscribe"}', "NaN", '"\\ud800"', '{"id":1e999}']
    ),
).map(lambda text: text.encode(errors="replace"))
OP_LISTS = st.lists(OPS.map(lambda op: op.replace(b"\n", b" ")), min_size=1, max_size=6).map(b"\n".join)

POSITION_TEXTS = st.one_of(
    st.text(max_size=12).map(str.encode),
    st.binary(max_size=12),
    st.sampled_from([b"a:1", b"a:-1", b"a:1e3", b":", b"a:", b":1", b"a:999999999999999999", b"a:1000000000000000000",
                     b"x" * 64 + b":1", b"x" * 65 + b":1", "a:\u0661".encode(), b"a:1:2", b" a:1", b"a:0"]),
)  # fmt: skip
KEYS = st.one_of(
    st.binary(max_size=12), st.sampled_from([KEY.encode(), KEY.encode() + b" ", KEY.upper().encode(), b"x" * 256])
)
PROTOCOLS = st.one_of(
    st.sampled_from([b"fanwise.v1", b"fanwise.v1, fanwise.key." + KEY.encode(), b",", b"fanwise.v2", b"a" * 1000]),
    st.binary(max_size=12),
)
FIELDS = st.builds(
    lambda *fields: b"\n".join(field.replace(b"\n", b"") for field in fields),
    st.one_of(NAMES.map(lambda name: name.encode(errors="replace")), st.binary(max_size=8)),
    POSITION_TEXTS, KEYS, PROTOCOLS,
)  # fmt: skip


def record(tag: int, time: bytes, fields: list[bytes]) -> bytes:
    return bytes([tag]) + time + b"".join(fields)


def alone(story: Record) -> bytes:
    """A record's bytes as the first one of a block."""
    encoder = TraceEncoder(HEADER)
    encoder.take()
    encoder.add(story)
    return encoder.take()[FRAME_BYTES:]


def varint(number: int) -> bytes:
    parts = [number >> shift & 127 for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(part | 128 for part in parts[:-1]), parts[-1]])


NUMBERS = st.one_of(st.integers(0, 3), st.integers(0, 1 << 17), st.integers(0, 1 << 65)).map(varint)
LENGTHS = st.one_of(st.just(0), st.sampled_from([1, 1_024, 1_025, 1 << 31, (1 << 63) - 1]))
TEXTS = st.builds(lambda more, text: varint(len(text) + more) + text, LENGTHS, st.text(max_size=4).map(str.encode))
RECORDS = st.one_of(
    st.sampled_from([alone(story) for story in STORY]),
    st.builds(record, st.integers(0, 27), NUMBERS, st.lists(st.one_of(NUMBERS, NUMBERS, TEXTS), max_size=6)),
)
BEGUN = [b"", alone(STORY[0]), alone(STORY[0]) + alone(STORY[1])]  # a channel, and a client
CONTENTS = st.builds(lambda first, more: first + b"".join(more), st.sampled_from(BEGUN), st.lists(RECORDS, max_size=8))
BLOCKS = st.lists(CONTENTS.map(block), max_size=3).map(lambda blocks: encoded() + b"".join(blocks))
CUT_TRACES = st.builds(
    damaged, BLOCKS, st.integers(0, 400), st.one_of(st.binary(max_size=4), st.just(b"\xff" * 9)), st.integers(0, 6)
)
TRACES = st.one_of(
    st.builds(prefixed, st.one_of(BLOCKS, CUT_TRACES), CUTS),
    st.builds(lambda stream, cuts: bytes([len(cuts) | FITTING]) + prefixed(stream, cuts)[1:], CONTENTS, CUTS),
)

INPUTS = {
    "trace": TRACES,
    "frames": STREAMS,
    "websocket": STREAMS,
    "http": DOORS,
    "op": OPS,
    "ops": OP_LISTS,
    "names": FIELDS,
}

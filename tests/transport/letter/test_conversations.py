"""RFC 6455 as a table: what a client sends, in which pieces, and each frame of the answer.

The sections are those of the Autobahn test suite: framing, pings and pongs, reserved bits, opcodes, fragmentation,
UTF-8, closing, limits. `tox -e autobahn` runs that suite itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from ...support.live import Live, echo, handshake, running
from .wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close,
    fragments,
    frame,
    in_pieces,
    joined,
    read_frame,
    read_to_end,
    say,
)

pytestmark = pytest.mark.anyio

MAX_BYTES = 262_144  # of a message
AT_A_TIME = 16  # connections
HELLO = (TEXT, b"Hello")


class Row(NamedTuple):
    """One conversation.

    Attributes:
        pieces: What the client sends.
        answers: What the server sends before its close frame.
        code: The code of the server's close frame; None for none.
        by_server: Whether the server closes. Else the client does, with 1000, when it has the answers.
    """

    name: str
    pieces: list[bytes]
    answers: list[tuple[int, bytes]] = []  # noqa: RUF012 - not changed
    code: int | None = 1000
    by_server: bool = False


def failed(name: str, pieces: list[bytes], code: int, *answers: tuple[int, bytes]) -> Row:
    return Row(name, pieces, list(answers), code, by_server=True)


def framing() -> Iterator[Row]:
    """Sections 5.2 and 5.3: each form of the length, whole and byte by byte; the mask."""
    for opcode in (TEXT, BINARY):
        for size in (0, 1, 124, 125, 126, 127, 128, 65_535, 65_536, MAX_BYTES):
            payload = (b"*" if opcode == TEXT else b"\xfe") * size
            yield Row(f"{size} bytes of opcode {opcode}", [frame(opcode, payload)], [(opcode, payload)])
            if size <= 128:
                pieces = in_pieces(frame(opcode, payload), 1)
                yield Row(f"{size} bytes of opcode {opcode}, one by one", pieces, [(opcode, payload)])
            else:
                pieces = in_pieces(frame(opcode, payload), 997)
                yield Row(f"{size} bytes of opcode {opcode} in 997s", pieces, [(opcode, payload)])
    for length_bytes in (2, 8):
        pieces = [frame(TEXT, b"Hello", length_bytes=length_bytes)]
        yield Row(f"a length of {length_bytes} bytes that takes fewer", pieces, [HELLO])
    yield Row("a mask of zeros", [frame(TEXT, b"Hello", mask=bytes(4))], [HELLO])
    yield failed("no mask", [frame(TEXT, b"Hello", mask=b"")], 1002)
    yield failed("no mask on a ping", [frame(PING, mask=b"")], 1002)
    yield failed("no mask behind a message", joined([frame(TEXT, b"Hello"), frame(TEXT, b"x", mask=b"")]), 1002, HELLO)


def pings() -> Iterator[Row]:
    """Sections 5.5.2 and 5.5.3."""
    for payload in (b"", b"Hello", b"\x00\xff\xfe\xfd", b"*" * 125):
        yield Row(f"a ping of {len(payload)} bytes", [frame(PING, payload)], [(PONG, payload)])
        yield Row(f"{len(payload)} bytes one by one", in_pieces(frame(PING, payload), 1), [(PONG, payload)])
        yield Row(f"a pong of {len(payload)} bytes", [frame(PONG, payload), frame(TEXT, b"Hello")], [HELLO])
    ten = [frame(PING, b"ping-%d" % number) for number in range(10)]
    pongs = [(PONG, b"ping-%d" % number) for number in range(10)]
    yield Row("ten pings", ten, pongs)
    yield Row("ten pings at once", joined(ten), pongs)
    yield Row("ten pings in bytes", in_pieces(b"".join(ten), 1), pongs)
    for opcode in (CLOSE, PING, PONG):
        yield failed(f"126 bytes in opcode {opcode}", [frame(opcode, b"*" * 126)], 1002)
        yield failed(f"opcode {opcode} in fragments", [frame(opcode, b"", fin=False)], 1002)


def reserved_bits() -> Iterator[Row]:
    """Section 5.2: they are 0 unless an extension says otherwise. What came before is answered."""
    hello = frame(TEXT, b"Hello")
    for rsv in range(1, 8):
        for opcode in (TEXT, BINARY, CLOSE, PING, PONG):
            bad = frame(opcode, b"", rsv=rsv)
            yield failed(f"bits {rsv:03b} in opcode {opcode}", [bad], 1002)
            yield failed(f"bits {rsv:03b} in opcode {opcode}, behind a text", [hello + bad + hello], 1002, HELLO)
        bad = frame(CONTINUATION, b"", rsv=rsv)
        yield failed(f"bits {rsv:03b} in a fragment", [frame(TEXT, b"a", fin=False), bad], 1002)


def opcodes() -> Iterator[Row]:
    """Section 5.2: the reserved ones fail the connection."""
    hello = frame(TEXT, b"Hello")
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        for payload in (b"", b"Hello, world!"):
            bad = frame(opcode, payload)
            yield failed(f"opcode {opcode} of {len(payload)} bytes", [bad], 1002)
            name = f"opcode {opcode} of {len(payload)} bytes behind a text"
            yield failed(f"{name}, at once", [hello + bad + frame(PING)], 1002, HELLO)
            yield failed(f"{name}, in bytes", in_pieces(hello + bad, 1), 1002, HELLO)


def fragmentation() -> Iterator[Row]:
    """Section 5.4."""
    for opcode in (TEXT, BINARY):
        parts = fragments(opcode, [b"Hel", b"lo"])
        hello = (opcode, b"Hello")
        yield Row(f"two of opcode {opcode}", parts, [hello])
        yield Row(f"two of opcode {opcode} at once", joined(parts), [hello])
        yield Row(f"two of opcode {opcode} in bytes", in_pieces(b"".join(parts), 1), [hello])
        yield Row(f"empty ones of opcode {opcode}", fragments(opcode, [b"", b"", b""]), [(opcode, b"")])
        yield Row(f"empty ones around opcode {opcode}", fragments(opcode, [b"", b"Hello", b"", b""]), [hello])
        between = [parts[0], frame(PING, b"between"), parts[1]]
        yield Row(f"a ping between opcode {opcode}", between, [(PONG, b"between"), hello])
        yield Row(f"a ping between opcode {opcode} at once", joined(between), [(PONG, b"between"), hello])
        yield Row(f"a pong between opcode {opcode}", [parts[0], frame(PONG, b"x"), parts[1]], [hello])
        yield failed(f"opcode {opcode} within a message", [parts[0], frame(opcode, b"new")], 1002)
        yield failed(f"opcode {opcode} with its end within a message", [parts[0], frame(opcode, b"", fin=False)], 1002)
    for fin in (True, False):
        lone = frame(CONTINUATION, b"lone", fin=fin)
        yield failed(f"one without a beginning, fin {fin}", [lone], 1002)
        yield failed(f"one behind a text, fin {fin}", [frame(TEXT, b"Hello") + lone], 1002, HELLO)
        yield failed(f"one behind fragments, fin {fin}", joined([*fragments(TEXT, [b"Hel", b"lo"]), lone]), 1002, HELLO)
    many = fragments(BINARY, [b"x" * 64] * 200)
    yield Row("two hundred", joined(many), [(BINARY, b"x" * 12_800)])


# RFC 3629 section 4. Of what is invalid, the place of the byte that can be known to be wrong.
VALID = {
    "two bytes": "κόσμε".encode(),
    "the first of one byte": b"\x00",
    "the first of two": b"\xc2\x80",
    "the first of three": b"\xe0\xa0\x80",
    "the first of four": b"\xf0\x90\x80\x80",
    "the last of one": b"\x7f",
    "the last of two": b"\xdf\xbf",
    "the last of three": b"\xef\xbf\xbf",
    "the last of all": b"\xf4\x8f\xbf\xbf",
    "before the surrogates": b"\xed\x9f\xbf",
    "behind the surrogates": b"\xee\x80\x80",
    "a byte order mark": b"\xef\xbb\xbf",
    "a noncharacter": b"\xef\xb7\x90",
}
INVALID = {
    "a lone continuation": (b"\x80", 0),
    "continuations": (b"ab\xbf\x80", 2),
    "overlong, two bytes": (b"\xc0\xaf", 0),
    "overlong, the last of two": (b"\xc1\xbf", 0),
    "overlong, three bytes": (b"\xe0\x80\xaf", 1),
    "overlong, the last of three": (b"\xe0\x9f\xbf", 1),
    "overlong, four bytes": (b"\xf0\x80\x80\xaf", 1),
    "overlong, the last of four": (b"\xf0\x8f\xbf\xbf", 1),
    "a surrogate": (b"\xed\xa0\x80", 1),
    "a pair of surrogates": (b"\xed\xa1\x8c\xed\xbe\xb4", 1),
    "beyond the last": (b"\xf4\x90\x80\x80", 1),
    "a start of four, far beyond": (b"\xf5\x80\x80\x80", 0),
    "a start of five": (b"\xf8\x88\x80\x80\x80", 0),
    "a start of six": (b"\xfc\x84\x80\x80\x80\x80", 0),
    "0xfe": (b"\xfe", 0),
    "0xff": (b"a\xff", 1),
    "a start behind a start": (b"\xc3\xc3", 1),
    "a letter in a character": (b"\xe2\x82a", 2),
    "text around it": (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 12),
}


def utf_8() -> Iterator[Row]:
    """Sections 5.6 and 8.1: bad text fails the connection, at its first bad byte if that ends a fragment."""
    for name, text in VALID.items():
        yield Row(name, [frame(TEXT, text)], [(TEXT, text)])
        parts = fragments(TEXT, [*in_pieces(text, 1), b""])
        yield Row(f"{name}, in fragments", parts, [(TEXT, text)])
        yield Row(f"{name}, in fragments at once", joined(parts), [(TEXT, text)])
        if len(text) > 1:
            yield failed(f"{name}, cut", [frame(TEXT, text[:-1])], 1007)
            yield failed(f"{name}, cut in fragments", fragments(TEXT, [text[:1], text[1:-1]]), 1007)
    for name, (data, bad) in INVALID.items():
        yield failed(name, [frame(TEXT, data)], 1007)
        yield failed(f"{name}, behind a text", [frame(TEXT, b"Hello") + frame(TEXT, data)], 1007, HELLO)
        yield failed(f"{name}, without its end", fragments(TEXT, in_pieces(data[: bad + 1], 1), ended=False), 1007)
        yield failed(f"{name}, in one fragment", fragments(TEXT, [data], ended=False), 1007)
        if bad:
            parts = fragments(TEXT, in_pieces(data[:bad], 1), ended=False)
            yield Row(f"{name}, before it is bad", [*parts, frame(PING)], [(PONG, b"")])
        yield Row(f"{name}, in binary", [frame(BINARY, data)], [(BINARY, data)])
        yield Row(f"{name}, in binary fragments", fragments(BINARY, in_pieces(data, 1)), [(BINARY, data)])
        yield Row(f"{name}, in a ping", [frame(PING, data)], [(PONG, data)])


def closing() -> Iterator[Row]:
    """Sections 5.5.1 and 7."""
    for code in (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999):
        yield failed(f"code {code}", [close(code)], code)
        yield failed(f"code {code} with a reason", [close(code, "schön".encode())], code)
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535):
        yield failed(f"code {code}", [close(code)], 1002)
    yield failed("the longest reason", [close(1000, b"*" * 123)], 1000)
    yield failed("a reason that is too long", [close(1000, b"*" * 124)], 1002)
    yield failed("a reason that is no text", [close(1000, b"\xce\xba\xed\xa0\x80")], 1007)
    yield failed("half a code", [frame(CLOSE, b"\x03")], 1002)
    yield Row("no code", [close(None)], code=None, by_server=True)
    yield failed("in bytes", in_pieces(close(1001, b"bye"), 1), 1001)
    first, second = fragments(TEXT, [b"Hel", b"lo"])
    yield failed("in the middle of a message", [first, close(1000), second], 1000)
    yield failed("in the middle of a message, at once", joined([first, close(4000), second]), 4000)
    for name, behind in {
        "a text": frame(TEXT, b"late"),
        "a ping": frame(PING, b"late"),
        "another close": close(1001),
        "a broken frame": frame(TEXT, b"late", rsv=7),
        "bad text": frame(TEXT, b"\xff"),
        "no frame": b"\xff" * 1000,
    }.items():
        yield failed(f"{name} behind it", [close(1000) + behind], 1000)
        yield failed(f"{name} behind it, in the next packet", [close(1000), behind], 1000)


def limits() -> Iterator[Row]:
    """Section 10.4, and the code of section 7.4.1 for what is too big."""
    for opcode in (TEXT, BINARY):
        beyond = frame(opcode, b"x" * (MAX_BYTES + 1))
        yield failed(f"a byte too much in opcode {opcode}", [beyond[:14]], 1009)
        yield failed(f"a byte too much behind opcode {opcode}", [frame(TEXT, b"Hello") + beyond[:14]], 1009, HELLO)
        half = b"x" * (MAX_BYTES // 2)
        yield Row(f"the most in fragments of opcode {opcode}", fragments(opcode, [half, half]), [(opcode, half + half)])
        yield failed(f"too much in opcode {opcode}", fragments(opcode, [half, half, b"x"], ended=False), 1009)
    for size in (2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1):
        yield failed(f"a length of {size}", [b"\x82\xff" + size.to_bytes(8) + bytes(4)], 1009)


SECTIONS = (framing, pings, reserved_bits, opcodes, fragmentation, utf_8, closing, limits)


async def hold(live: Live, row: Row) -> list[tuple[int, bytes]]:
    """Holds one conversation; returns all frames that the server has sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    try:
        writer.write(handshake("/ws"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        await say(writer, row.pieces)
        if row.by_server:
            return await read_to_end(reader, writer)
        frames: list[tuple[int, bytes]] = []
        while len(frames) < len(row.answers) and (not frames or frames[-1][0] != CLOSE):
            frames.append(await read_frame(reader))
        writer.write(close(1000))
        return frames + await read_to_end(reader, writer)
    finally:
        writer.close()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
async def test_each_conversation_goes_as_the_letter_says(
    section: Callable[[], Iterator[Row]], caplog: pytest.LogCaptureFixture
) -> None:
    """Frame by frame, and nothing is logged about a peer's mistakes."""
    rows = list(section())
    assert len({row.name for row in rows}) == len(rows)
    wrong = {}
    places = asyncio.Semaphore(AT_A_TIME)
    asgi, _ = echo(name=lambda websocket: f"echo-{id(websocket)}", max_message_bytes=MAX_BYTES)
    async with running(asgi) as live:
        live.server.config.ws_max_size = MAX_BYTES

        async def check(row: Row) -> None:
            async with places:
                got = await hold(live, row)
            expected = [*row.answers, (CLOSE, b"" if row.code is None else row.code.to_bytes(2))]
            if got != expected:
                wrong[row.name] = (shortened(got), shortened(expected))

        await asyncio.gather(*[check(row) for row in rows])
    assert wrong == {}
    logged = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [one.getMessage() for one in logged if getattr(one, "code", "") != "loop_late"] == []  # a busy machine


def shortened(frames: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    return [(opcode, payload[:40]) for opcode, payload in frames]

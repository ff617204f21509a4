"""HTTP requests of which two parsers may see different ends: no second request comes out of a first one.

Each row has a request to publish behind or inside another, which only a parser that errs can see (RFC 9112 sections 5,
6, 7 and 11.2).
"""

from __future__ import annotations

import asyncio

import pytest

from fanwise import Broadcaster

from ...support.live import Live, app_of, running
from .wire import say

pytestmark = pytest.mark.anyio

HOST = b"Host: 127.0.0.1\r\n"
INNER = b"POST /publish/smuggled HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: %d\r\n"
CHUNK = b"%x\r\n%s\r\n0\r\n\r\n" % (len(INNER), INNER)


def post(head: bytes, body: bytes = b"", *, line: bytes = b"POST /publish/outer HTTP/1.1\r\n") -> bytes:
    return line + HOST + head + b"\r\n" + body


def last(head: bytes, body: bytes, *, line: bytes = b"POST /publish/outer HTTP/1.1\r\n") -> bytes:
    return post(b"Connection: close\r\n" + head, body, line=line)


# What comes behind a request's end by one reading, and is a part of its body by the other.
BEHIND_CHUNKS = b"0\r\n\r\n" + INNER
REFUSED = {
    "a length and chunks": post(LENGTH % len(BEHIND_CHUNKS) + CHUNKED, BEHIND_CHUNKS),
    "chunks and a length": post(CHUNKED + LENGTH % 5, BEHIND_CHUNKS),
    "two lengths": post(LENGTH % len(INNER) + LENGTH % 0, INNER),
    "two lengths, the other way round": post(LENGTH % 0 + LENGTH % len(INNER), INNER),
    "lengths in a list": post(b"Content-Length: 0, %d\r\n" % len(INNER), INNER),
    "a length with a plus": post(b"Content-Length: +0\r\n", INNER),
    "a length with a minus": post(b"Content-Length: -0\r\n", INNER),
    "a length in hexadecimal": post(b"Content-Length: 0x0\r\n", INNER),
    "a length in two words": post(b"Content-Length: 0 0\r\n", INNER),
    "a length with an underscore": post(b"Content-Length: 1_0\r\n", INNER),
    "a length that is a fraction": post(b"Content-Length: 0.0\r\n", INNER),
    "no length in the field": post(b"Content-Length:\r\n", INNER),
    "a length beyond 64 bits": post(b"Content-Length: 18446744073709551616\r\n", INNER),
    "a space before the colon of a length": post(b"Content-Length : 0\r\n", INNER),
    "a space before the colon of chunks": post(b"Transfer-Encoding : chunked\r\n", BEHIND_CHUNKS),
    "a tab before the colon of chunks": post(b"Transfer-Encoding\t: chunked\r\n", BEHIND_CHUNKS),
    "a space before the name": post(b" Transfer-Encoding: chunked\r\n", BEHIND_CHUNKS),
    "a NUL in a name": post(b"Transfer-Encoding\0: chunked\r\n", BEHIND_CHUNKS),
    "a NUL in a value": post(b"Transfer-Encoding: chunked\0\r\n", BEHIND_CHUNKS),
    "a vertical tab in a name": post(b"\x0bTransfer-Encoding: chunked\r\n", BEHIND_CHUNKS),
    "a line without a colon": post(b"Transfer-Encoding chunked\r\n", BEHIND_CHUNKS),
    "a bare CR in a head": post(b"A: b\rTransfer-Encoding: chunked\r\n", BEHIND_CHUNKS),
    "an unknown coding": post(b"Transfer-Encoding: xchunked\r\n", BEHIND_CHUNKS),
    "chunks that are not last": post(b"Transfer-Encoding: chunked, identity\r\n", BEHIND_CHUNKS),
    "a size with a plus": post(CHUNKED, b"+0\r\n\r\n" + INNER),
    "a size with a minus": post(CHUNKED, b"-0\r\n\r\n" + INNER),
    "a size with 0x": post(CHUNKED, b"0x0\r\n\r\n" + INNER),
    "no size": post(CHUNKED, b"\r\n\r\n" + INNER),
    "a size beyond 64 bits": post(CHUNKED, b"10000000000000000\r\n" + INNER),
    "a chunk that is longer than its size": post(CHUNKED, b"1\r\nab\r\n0\r\n\r\n" + INNER),
    "a chunk without a line end": post(CHUNKED, b"1\r\na0\r\n\r\n" + INNER),
    "a trailer without a colon": post(CHUNKED, b"0\r\nA\r\n\r\n" + INNER),
    "a length in a trailer": post(CHUNKED, CHUNK[:-2] + LENGTH % len(INNER) + b"\r\n" + INNER),
    "chunks in a trailer": post(CHUNKED, CHUNK[:-2] + CHUNKED + b"\r\n" + INNER),
    "no version": post(b"", line=b"POST /publish/outer\r\n") + INNER,
    "an unknown version": post(LENGTH % 0, INNER, line=b"POST /publish/outer HTTP/3.0\r\n"),
    "a space in the address": post(LENGTH % 0, INNER, line=b"POST /publish/outer x HTTP/1.1\r\n"),
    "two hosts": post(HOST + LENGTH % 0, INNER),
}
# One request, however it is read, with the other inside its body.
ONE = {
    "a length": last(LENGTH % len(INNER), INNER),
    "a length with zeros before it": last(b"Content-Length: 000%d\r\n" % len(INNER), INNER),
    "a length with spaces around it": last(b"Content-Length:  %d \t\r\n" % len(INNER), INNER),
    "a length in capitals": last(b"CONTENT-LENGTH: %d\r\n" % len(INNER), INNER),
    "a chunk": last(CHUNKED, CHUNK),
    "a size with zeros before it": last(CHUNKED, b"000" + CHUNK),
    "a size with an extension": last(CHUNKED, b"%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(INNER), INNER)),
    "trailers": last(CHUNKED, CHUNK[:-2] + b"A: b\r\n\r\n"),
    "capitals": last(b"TRANSFER-ENCODING: CHUNKED\r\n", CHUNK),
}


async def ask(live: Live, data: bytes, size: int) -> bytes:
    """All answers to `data`, sent in pieces of `size` bytes, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    await say(writer, [data[at : at + size] for at in range(0, len(data), size)])
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    except TimeoutError:
        return b"not closed in 20 s"
    except OSError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("size", [10_000, 7], ids=["at once", "in pieces"])
async def test_no_request_comes_out_of_another(size: int) -> None:
    """An unclear request has one answer, 400 or an end; a clear one has one too."""
    broadcaster = Broadcaster()
    wrong = {}
    async with running(app_of(broadcaster.router)) as live:
        for rows, status in ((REFUSED, b"400"), (ONE, b"200")):
            for name, data in rows.items():
                got = await ask(live, data, size)
                if got.count(b"HTTP/1.1 ") > 1 or (got and not got.startswith(b"HTTP/1.1 " + status)):
                    wrong[name] = got[:200]
                if not got and status == b"200":
                    wrong[name] = b"no answer"
                if any(one.name == "smuggled" for one in broadcaster.statistics().channels):
                    pytest.fail(f"{name}: the inner request was worked on")
    assert wrong == {}

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.transport.refusals import RefusedError
from fanwise.transport.request_cutter import CHUNK_EXTENSION_BYTES, CHUNK_LINE_BYTES, CHUNKS, RequestCutter

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
PLAIN = HEAD + b"\r\n"
SIZED = HEAD + b"Content-Length: 6\r\n\r\n\r\n\r\n\r\n"  # a body that looks like the end of a head
EMPTY = HEAD + b"Content-Length: 0\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n4;a=b\r\n\r\n\r\n\r\n0A\r\n0123456789\r\n0\r\n\r\n"
TRAILED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n"
REQUESTS = (PLAIN, SIZED, EMPTY, CHUNKED, TRAILED)


class Reader:
    """A parser that is fed piece by piece, as the protocol class does it."""

    def __init__(self) -> None:
        self.cutter = RequestCutter(head_bytes=16_384)
        self.parser = httptools.HttpRequestParser(self)
        self.headers: dict[bytes, bytes] = {}
        self.requests: list[bytes] = [b""]
        self.complete = False

    def on_message_begin(self) -> None:
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.cutter.head_ended(
            body_bytes=int(self.headers.get(b"content-length", b"0")), chunked=b"transfer-encoding" in self.headers
        )

    def on_message_complete(self) -> None:
        self.complete = True

    def feed(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            end = self.cutter.cut(data, at)
            assert end > at
            self.parser.feed_data(data[at:end])
            self.requests[-1] += data[at:end]
            at = end
            assert self.cutter.complete is self.complete
            if self.complete:
                self.complete = False
                self.cutter.begin()
                self.requests.append(b"")


@given(
    requests=st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=30),
)
def test_it_agrees_with_the_parser_on_where_requests_end(requests: list[bytes], cuts: list[int]) -> None:
    """However the network has cut what was sent."""
    stream, reader = b"".join(requests), Reader()
    at = 0
    for size in [*cuts, len(stream)]:
        reader.feed(stream[at : at + size])
        at += size
    assert reader.requests == [*requests, b""]


def cut_all(cutter: RequestCutter, data: bytes) -> list[int]:
    """Returns the sizes of the pieces, of which all but the last end behind 64 chunks."""
    at, sizes = 0, list[int]()
    while at < len(data):
        before, at = at, cutter.cut(data, at)
        sizes.append(at - before)
        assert cutter.many_chunks is (at < len(data))
    return sizes


def test_a_piece_ends_behind_64_chunks() -> None:
    """Of whatever size; 42,000 chunks of a byte, in one read, held the loop for 500 ms."""
    cutter = RequestCutter(head_bytes=100)
    cutter.head_ended(body_bytes=0, chunked=True)
    chunk, end = b"1\r\nx\r\n", b"0\r\n\r\n"
    pieces = cut_all(cutter, chunk * 1_000 + end)
    assert pieces == [CHUNKS * len(chunk)] * (1_000 // CHUNKS) + [1_000 % CHUNKS * len(chunk) + len(end)]
    assert cutter.complete


def test_a_piece_never_reaches_over_the_end_of_a_request() -> None:
    """The first of two requests is all that comes out, until somebody begins anew."""
    cutter = RequestCutter(head_bytes=16_384)
    assert cutter.cut(PLAIN + PLAIN, 0) == len(PLAIN)
    cutter.head_ended(body_bytes=0, chunked=False)
    assert cutter.complete
    cutter.begin()
    assert cutter.cut(PLAIN + PLAIN, len(PLAIN)) == 2 * len(PLAIN)


@pytest.mark.parametrize(
    "line", [b"-1\r\n", b"+1\r\n", b"1_0\r\n", b"\r\n", b";\r\n", b"xyz\r\n", b"1;" + b"a" * CHUNK_LINE_BYTES], ids=repr
)
def test_a_chunk_without_a_size_is_refused(line: bytes) -> None:
    """It must not be guessed where it ends; and a line without end is not kept."""
    cutter = RequestCutter(head_bytes=16_384)
    cutter.head_ended(body_bytes=0, chunked=True)
    with pytest.raises(RefusedError, match="the size of a chunk"):
        cutter.cut(line, 0)


@pytest.mark.parametrize("extension", [b";" + b"a" * 127, b" " * 128], ids=["extension", "blanks"])
def test_the_extensions_of_all_chunks_are_bounded(extension: bytes) -> None:
    """A chunk of one byte could carry 250 more, as long as a body lasts. Chunks without extensions are not counted."""
    cutter = RequestCutter(head_bytes=16_384)
    cutter.head_ended(body_bytes=0, chunked=True)
    plain, long = b"1\r\nx\r\n" * 20_000, b"1" + extension + b"\r\nx\r\n"
    cut_all(cutter, plain)
    within = long * (CHUNK_EXTENSION_BYTES // len(extension))
    cut_all(cutter, within)
    with pytest.raises(RefusedError, match="more than 16384 bytes of extensions"):
        cutter.cut(long, 0)

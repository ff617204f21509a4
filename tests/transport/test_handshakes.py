from __future__ import annotations

from itertools import product
from urllib.parse import parse_qsl

import pytest

from fanwise.transport.handshakes import accept_value, read_handshake, read_subprotocols

from ..support.live import handshake

PLAIN = handshake("/ws?channel=a&x=&channel=b%20c")


def read(data: bytes, *, max_bytes: int = 8_000, max_fields: int = 100) -> object:
    return read_handshake(data, max_bytes=max_bytes, max_fields=max_fields, secure=False)


def test_a_plain_handshake_is_read() -> None:
    """With its fields, and what guards look at of a scope."""
    data = PLAIN.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a, fanwise.v1\r\nX-A: b: c\r\n\r\n")
    found = read_handshake(data, max_bytes=8_000, max_fields=100, secure=True)
    assert found is not None
    assert found.headers["host"] == "127.0.0.1"
    assert found.headers["x-a"] == "b: c"
    assert found.query_params == {"channel": "b c", "x": ""}
    assert found.scope == {"scheme": "wss", "path": "/ws", "subprotocols": ["a", "fanwise.v1"]}


def test_a_query_is_read_as_urllib_reads_it() -> None:
    """Escaped or not, with empty names, values and parts."""
    for parts in product("a=&+;", repeat=4):
        for query in ("".join(parts), "".join(parts) + "%41"):
            found = read_handshake(handshake(f"/ws?{query}"), max_bytes=8_000, max_fields=100, secure=False)
            assert found is not None
            assert found.query_params == dict(parse_qsl(query, keep_blank_values=True)), query


def test_it_is_read_within_its_bounds() -> None:
    """The request line is no field."""
    fields = PLAIN.count(b"\r\n") - 2
    assert read(PLAIN, max_bytes=len(PLAIN), max_fields=fields) is not None
    assert read(PLAIN, max_bytes=len(PLAIN) - 1) is None
    assert read(PLAIN, max_fields=fields - 1) is None


def test_a_part_is_no_handshake() -> None:
    assert [size for size in range(len(PLAIN)) if read(PLAIN[:size]) is not None] == []


def test_bytes_that_cannot_be_printed_are_left_to_a_parser() -> None:
    """Wherever they stand: in a value, in a name, in the target."""
    for byte in (*range(0x20), *range(0x7F, 0x100)):
        for before in (b"127.0", b"Host", b"/ws"):
            assert read(PLAIN.replace(before, before + bytes([byte]), 1)) is None, byte


@pytest.mark.parametrize("values", [[b""], [b","], [b"a/b"], [b"a", b" ;"], [b"\xa0a"]])
def test_subprotocols_that_are_no_tokens(values: list[bytes]) -> None:
    assert read_subprotocols(values) is None


def test_subprotocols() -> None:
    assert read_subprotocols([b"a,,b", b"\tc "]) == ["a", "b", "c"]


def test_the_value_of_the_specification() -> None:
    """RFC 6455 section 1.3."""
    assert accept_value(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert [accept_value(key) for key in (b"", b"short", b"!" * 24, b"A" * 24)] == [None] * 4

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from fanwise.transport.addresses import is_loopback, peer_name, read_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:80", "192.0.2.7"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:", None),
        ("192.0.2.7:x", None),
        ("192.0.2.7:999999", None),
        ("192.0.2.7:\u0665", None),
        ("[::1", None),
        ("[::1]x", None),
        ("example.com", None),
        ("", None),
    ],
)
def test_addresses_are_read_as_headers_spell_them(text: str, address: str | None) -> None:
    """With a port or without."""
    found = read_address(text)
    assert (None if found is None else str(found)) == address


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.7", False),
        ("example.com", False),
        ("testclient", False),
    ],
)
def test_loopback_is_what_others_do_not_reach(host: str, loopback: bool) -> None:
    """All of 127.0.0.0/8, and `localhost`."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("client", "name"),
    [(("192.0.2.7", 80), "192.0.2.7:80"), (None, ""), (("x" * 1_000_000, 0), "x" * 64 + ":0")],
)
def test_a_peer_has_a_short_name(client: Any, name: str) -> None:
    """Whatever a server in front has put there: lists of clients stay small."""
    assert peer_name(HTTPConnection({"type": "http", "client": client})) == name

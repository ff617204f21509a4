from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from fanwise.routes.auth.origins import Origins


def connection(**headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "websocket", "headers": raw})


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://example.com", "example.com", True),
        ("http://example.com:8000", "example.com:8000", True),
        ("https://example.com", "example.com:443", True),
        ("http://Example.COM:80", "example.com", True),
        ("http://example.com", "example.com:8000", False),
        ("http://example.com:8000", "example.com:8001", False),
        ("http://evil.com", "example.com", False),
        ("http://example.com.evil.com", "example.com", False),
        ("http://evil.com/example.com", "example.com", False),
        ("http://user@example.com", "example.com", False),
        ("null", "example.com", False),
        ("http://[", "example.com", False),
        ("", "", False),
        ("https://friend.org", "example.com", True),
        ("https://FRIEND.org", "example.com", True),
        ("http://friend.org", "example.com", False),
    ],
)
def test_pages_of_other_hosts_may_not_connect(origin: str, host: str, allowed: bool) -> None:
    """Unless they are named; the port counts, and the one that the scheme implies may be left out."""
    origins = Origins(["https://friend.org/"])
    assert origins.allow(connection(origin=origin, host=host)) is allowed


def test_who_sends_no_origin_is_no_browser() -> None:
    """And cannot be made to connect in somebody's name."""
    assert Origins().allow(connection(host="example.com"))


def test_a_star_allows_all() -> None:
    """For streams that are public anyway."""
    assert Origins(["*"]).allow(connection(origin="http://evil.com", host="example.com"))


@pytest.mark.parametrize(
    ("scheme", "origin", "allowed"),
    [
        ("http", "http://example.com", True),
        ("http", "https://example.com", True),
        ("ws", "https://example.com", True),
        ("https", "https://example.com", True),
        ("wss", "https://example.com", True),
        ("https", "http://example.com", False),
        ("wss", "http://example.com", False),
        ("http", "ftp://example.com", False),
        ("http", "chrome-extension://example.com", False),
    ],
)
def test_the_scheme_counts(scheme: str, origin: str, allowed: bool) -> None:
    """Over TLS pages of http may not connect; without it pages of https may, for which a proxy has ended TLS."""
    asked = connection(origin=origin, host="example.com")
    asked.scope["scheme"] = scheme
    assert Origins().allow(asked) is allowed

from __future__ import annotations

import base64

import pytest
from starlette.requests import HTTPConnection

from fanwise.routes.auth.access import Access

KEY = "correct-horse"


def connection(*subprotocols: str, **headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "websocket", "headers": raw, "subprotocols": list(subprotocols)})


@pytest.mark.parametrize(
    ("brought", "holds"),
    [
        (connection(), None),
        (connection(authorization=f"Bearer {KEY}"), True),
        (connection(authorization=f"bearer  {KEY} "), True),
        (connection(authorization="Bearer wrong"), False),
        (connection(authorization="Basic whatever"), None),
        (connection(x_api_key=KEY), True),
        (connection(x_api_key=""), False),
        (connection("fanwise.v1", "fanwise.key." + base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=")), True),
        (connection("fanwise.key.AAAA"), False),
        (connection("fanwise.key.A"), False),
        (connection("fanwise.key.\xe9"), False),
    ],
)
def test_a_key_is_looked_for_in_headers_and_subprotocols(brought: HTTPConnection, holds: bool | None) -> None:
    """The right one, another one, or none: three different things."""
    assert Access(api_key=KEY).holds_key(brought) is holds


def test_without_a_key_everybody_holds_it() -> None:
    """There is nothing to ask for."""
    assert Access().holds_key(connection()) is True
    assert not Access().needs_key


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
    access = Access(allowed_origins=["https://friend.org/"])
    assert access.allows_origin(connection(origin=origin, host=host)) is allowed


def test_who_sends_no_origin_is_no_browser() -> None:
    """And cannot be made to connect in somebody's name."""
    assert Access().allows_origin(connection(host="example.com"))


def test_a_star_allows_all() -> None:
    """For streams that are public anyway."""
    assert Access(allowed_origins=["*"]).allows_origin(connection(origin="http://evil.com", host="example.com"))

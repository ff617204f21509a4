from __future__ import annotations

import base64

import pytest
from starlette.requests import HTTPConnection

from fanwise.routes.auth.keys import ApiKey

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
    assert ApiKey(KEY).is_held_by(brought) is holds


def test_without_a_key_everybody_holds_it() -> None:
    """There is nothing to ask for."""
    assert ApiKey().is_held_by(connection()) is True
    assert not ApiKey()

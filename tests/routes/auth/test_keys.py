from __future__ import annotations

import base64

import pytest
from starlette.requests import HTTPConnection

from fanwise.core.roles import ROLES, Role
from fanwise.routes.auth.keys import ApiKeys

KEY = "correct-horse"


def connection(*subprotocols: str, **headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "websocket", "headers": raw, "subprotocols": list(subprotocols)})


@pytest.mark.parametrize(
    ("brought", "roles"),
    [
        (connection(), None),
        (connection(authorization=f"Bearer {KEY}"), ROLES),
        (connection(authorization=f"bearer  {KEY} "), ROLES),
        (connection(authorization="Bearer wrong"), frozenset()),
        (connection(authorization="Basic whatever"), None),
        (connection(x_api_key=KEY), ROLES),
        (connection(x_api_key=""), frozenset()),
        (connection("fanwise.v1", "fanwise.key." + base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=")), ROLES),
        (connection("fanwise.key.AAAA"), frozenset()),
        (connection("fanwise.key.A"), frozenset()),
        (connection("fanwise.key.\xe9"), frozenset()),
    ],
)
def test_a_key_is_looked_for_in_headers_and_subprotocols(
    brought: HTTPConnection, roles: frozenset[Role] | None
) -> None:
    """The right one, another one, or none: three different things."""
    assert ApiKeys(KEY).roles(brought) == roles


def test_without_a_key_everybody_holds_it() -> None:
    """There is nothing to ask for."""
    assert ApiKeys().roles(connection()) == ROLES
    assert not ApiKeys()


def test_two_keys_are_valid_at_once() -> None:
    """Until the old one is taken out; each has its own roles."""
    keys = ApiKeys(f"{KEY},publish+read:the-other-key")
    assert keys.roles(connection(x_api_key=KEY)) == ROLES
    assert keys.roles(connection(x_api_key="the-other-key")) == frozenset({Role.PUBLISH, Role.READ})
    assert keys.roles(connection(x_api_key=f"{KEY},publish+read:the-other-key")) == frozenset()

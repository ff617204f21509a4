from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from fanwise.transport.addresses import peer_name


@pytest.mark.parametrize(
    ("client", "name"),
    [(("192.0.2.7", 80), "192.0.2.7:80"), (None, ""), (("x" * 1_000_000, 0), "x" * 64 + ":0")],
)
def test_a_peer_has_a_short_name(client: Any, name: str) -> None:
    """Whatever a server in front has put there: lists of clients stay small."""
    assert peer_name(HTTPConnection({"type": "http", "client": client})) == name

"""The names of peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import HTTPConnection

from ..core.addresses import SHOWN_CHARACTERS


def peer_name(connection: HTTPConnection) -> str:
    """Returns the peer as "host:port", and the host cut to 64 characters; empty if unknown."""
    return peer_of(connection.scope)


def peer_of(scope: Mapping[str, Any]) -> str:
    """Returns the peer of an ASGI scope, as `peer_name` does."""
    client = scope.get("client")
    return "" if client is None else f"{client[0][:SHOWN_CHARACTERS]}:{client[1]}"

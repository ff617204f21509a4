"""Access: who may publish and operate, and which pages may connect."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

KEY_SUBPROTOCOL = "fanwise.key."  # and the key in base64url: browsers cannot set headers of a WebSocket handshake
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Access:
    """What a request has to bring along.

    Args:
        api_key: What publishing and operating ask for; None: nothing.
        allowed_origins: Origins of pages, beside those of the server's own host, that may connect; "*" allows all.
    """

    def __init__(self, *, api_key: str | None = None, allowed_origins: Collection[str] = ()) -> None:
        self._api_key = api_key.encode() if api_key is not None else None
        self._any_origin = "*" in allowed_origins
        self._origins = {origin.rstrip("/").lower() for origin in allowed_origins}

    @property
    def needs_key(self) -> bool:
        """Whether there is a key at all."""
        return self._api_key is not None

    def holds_key(self, connection: HTTPConnection) -> bool | None:
        """Whether the request brings the key: True also if there is none, None if it brings nothing, False if another.

        Compared in constant time. Looked for in `Authorization: Bearer KEY`, `X-API-Key: KEY`, and, in WebSocket
        handshakes, a subprotocol `fanwise.key.BASE64URL`.
        """
        if self._api_key is None:
            return True
        given = _given_key(connection)
        return None if given is None else secrets.compare_digest(given, self._api_key)

    def allows_origin(self, connection: HTTPConnection) -> bool:
        """Whether the page that the request comes from may connect. What is no browser sends no origin, and may.

        RFC 6455 section 10.2: without this check, any page that a user visits could connect in the user's name.
        """
        origin = connection.headers.get("origin")
        if origin is None or self._any_origin or origin.lower() in self._origins:
            return True
        try:
            parts = urlsplit(origin.lower())
        except ValueError:  # no URL at all
            return False
        return bool(parts.netloc) and _same_host(parts.netloc, connection.headers.get("host", "").lower(), parts.scheme)


def _same_host(one: str, other: str, scheme: str) -> bool:
    """Compares host:port, where the port that the scheme implies may be left out."""
    implied = f":{_DEFAULT_PORTS.get(scheme, 0)}"
    return one.removesuffix(implied) == other.removesuffix(implied)


def _given_key(connection: HTTPConnection) -> bytes | None:
    scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip().encode()
    if "x-api-key" in connection.headers:
        return connection.headers["x-api-key"].encode()
    for subprotocol in connection.scope.get("subprotocols", ()):
        if subprotocol.startswith(KEY_SUBPROTOCOL):
            return _decode(subprotocol.removeprefix(KEY_SUBPROTOCOL))
    return None


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:  # also binascii.Error
        return b""

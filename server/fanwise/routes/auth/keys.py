"""The key that publishing and operating ask for (RFC 6750)."""

from __future__ import annotations

import base64
import secrets

from ...transport.handshakes import Asked

KEY_SUBPROTOCOL = "fanwise.key."  # and the key in base64url: browsers cannot set headers of a WebSocket handshake


class ApiKey:
    """The server's key, if there is one.

    Args:
        key: 8 to 255 characters of b64token (RFC 6750 section 2.1); None: every request holds it.
    """

    def __init__(self, key: str | None = None) -> None:
        self._key = key.encode() if key is not None else None

    def __bool__(self) -> bool:
        """Returns whether there is a key at all."""
        return self._key is not None

    def is_held_by(self, connection: Asked) -> bool | None:
        """Returns whether the request brings the key: True without a key, None if it brings nothing, False if another.

        Compares in constant time. Looks in `Authorization: Bearer KEY`, `X-API-Key: KEY`, and, in WebSocket
        handshakes, a subprotocol `fanwise.key.BASE64URL`.
        """
        if self._key is None:
            return True
        given = _given_key(connection)
        return None if given is None else secrets.compare_digest(given, self._key)


def _given_key(connection: Asked) -> bytes | None:
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

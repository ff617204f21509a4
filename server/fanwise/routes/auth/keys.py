"""The keys that publishing, operating and reading ask for (RFC 6750)."""

from __future__ import annotations

import base64
import secrets

from ...core.roles import NO_ROLES, ROLES, Role, read_keys
from ...transport.handshakes import Asked

KEY_SUBPROTOCOL = "fanwise.key."  # and the key in base64url: browsers cannot set headers of a WebSocket handshake


class ApiKeys:
    """The server's keys, if there are some.

    Args:
        text: One key, or several with roles, as `read_keys` takes them; None: every request has all roles.
    """

    def __init__(self, text: str | None = None) -> None:
        keys = {} if text is None else read_keys(text)
        self._roles = {key.encode(): roles for key, roles in keys.items()}

    def __bool__(self) -> bool:
        """Returns whether there is a key at all."""
        return bool(self._roles)

    def roles_of(self, key: bytes) -> frozenset[Role]:
        """Returns the roles of a key; none of another key. Compares in constant time."""
        found = NO_ROLES
        for one, roles in self._roles.items():
            if secrets.compare_digest(one, key):
                found = roles
        return found

    def roles(self, connection: Asked) -> frozenset[Role] | None:
        """Returns the roles of the key that a request brings: None if it brings nothing, no roles for another key.

        Looks in `Authorization: Bearer KEY`, `X-API-Key: KEY`, and, in WebSocket handshakes, a subprotocol
        `fanwise.key.BASE64URL`. All requests have all roles where there is no key.
        """
        if not self._roles:
            return ROLES
        bearer = bearer_of(connection)
        given = key_beside(connection) if bearer is None else bearer.encode()
        return None if given is None else self.roles_of(given)


def bearer_of(connection: Asked) -> str | None:
    """Returns what stands in `Authorization: Bearer`; None if nothing does."""
    scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def key_beside(connection: Asked) -> bytes | None:
    """Returns the key that a request brings in another place than `Authorization`; None if it brings none."""
    if "x-api-key" in connection.headers:
        return connection.headers["x-api-key"].encode()
    offered = offer_of(connection, KEY_SUBPROTOCOL)
    return None if offered is None else _decode(offered)


def offer_of(connection: Asked, beginning: str) -> str | None:
    """Returns what follows in the first subprotocol of a handshake that begins so; None if there is none."""
    for subprotocol in connection.scope.get("subprotocols", ()):
        if subprotocol.startswith(beginning):
            return str(subprotocol.removeprefix(beginning))
    return None


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:  # also binascii.Error
        return b""

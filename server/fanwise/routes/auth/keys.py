"""The keys that publishing, operating and reading ask for (RFC 6750)."""

from __future__ import annotations

import base64
import secrets

from starlette.datastructures import Headers

from ...core.codes import CodedError, ErrorCode
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
    """Returns what stands in `Authorization: Bearer`; None if nothing does. Raises CodedError for two such fields."""
    scheme, _, credentials = (_only(connection, "authorization") or "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def key_beside(connection: Asked) -> bytes | None:
    """Returns the key that a request brings in another place than `Authorization`; None if it brings none.

    Raises CodedError for two keys.
    """
    given = _only(connection, "x-api-key")
    if given is not None:
        return given.encode()
    offered = offer_of(connection, KEY_SUBPROTOCOL)
    return None if offered is None else _decode(offered)


def offer_of(connection: Asked, beginning: str) -> str | None:
    """Returns what follows in the first subprotocol of a handshake that begins so; None if there is none."""
    for subprotocol in connection.scope.get("subprotocols", ()):
        if subprotocol.startswith(beginning):
            return str(subprotocol.removeprefix(beginning))
    return None


def _only(connection: Asked, name: str) -> str | None:
    """Returns the value of a field of the head: a proxy in front may have looked at another one of two."""
    headers = connection.headers
    given = headers.get(name)
    if given is not None and isinstance(headers, Headers) and len(headers.getlist(name)) > 1:
        raise CodedError(ErrorCode.UNAUTHORISED, f"there are two fields {name}: it is not clear which one counts")
    return given


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:  # also binascii.Error
        return b""

"""Pages that may connect: those of the server's own host, and those of the origins that the settings allow.

RFC 6455 section 10.2: without this check, any page that a user visits could connect in the user's name.

The scheme counts. Over TLS, to this server or to a trusted proxy (X-Forwarded-Proto), only pages of https may connect.
Without TLS pages of http may, and pages of https: browsers let these ask over TLS only, so a proxy has ended TLS.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from ...transport.handshakes import Asked

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """The origins of pages that may connect.

    Args:
        allowed: Origins beside those of the server's own host, such as "https://example.com"; "*" allows all.
    """

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._all = "*" in allowed
        self._allowed = {origin.rstrip("/").lower() for origin in allowed}

    def allow(self, connection: Asked) -> bool:
        """Returns whether the page that sends the request may connect: True for programs, which send no origin."""
        origin = connection.headers.get("origin")
        if origin is None or self._all or origin.lower() in self._allowed:
            return True
        try:
            parts = urlsplit(origin.lower())
        except ValueError:  # no URL at all
            return False
        schemes = {"https"} if connection.scope.get("scheme") in ("https", "wss") else {"http", "https"}
        host = connection.headers.get("host", "").lower()
        return parts.scheme in schemes and bool(parts.netloc) and _same_host(parts.netloc, host, parts.scheme)


def _same_host(one: str, other: str, scheme: str) -> bool:
    """Compares host:port, where the port that the scheme implies may be left out."""
    implied = f":{_DEFAULT_PORTS[scheme]}"
    return one.removesuffix(implied) == other.removesuffix(implied)

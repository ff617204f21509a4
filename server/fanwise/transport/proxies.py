"""Trusted proxies in front of the server: the addresses whose `X-Forwarded-For` and scheme are believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ..core.addresses import read_address

_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
FORWARDED: Final = (_FOR, _PROTO)
# Headers of a request that a proxy passed on: its peer address is not that of the sender.
_PASSED_ON: Final = frozenset(
    {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}
)
_UNIX: Final = "unix"
_READ_BYTES = 2048  # of X-Forwarded-For, from its end: some forty hops
_SECURE = {"http": "https", "ws": "wss"}
_PLAIN = {secure: plain for plain, secure in _SECURE.items()}


def is_passed_on(headers: Iterable[str]) -> bool:
    """Returns whether a proxy says that it has passed a request on, from the names of its headers in lower case."""
    return not _PASSED_ON.isdisjoint(headers)


class TrustedProxies:
    """The addresses of proxies that speak for others.

    Args:
        networks: Addresses and networks, such as "10.0.0.7" and "10.0.0.0/8"; "unix" is whoever connects to a Unix
            socket. Empty: no proxy is believed.

    Raises:
        ValueError: One of `networks` is neither.
    """

    def __init__(self, networks: Collection[str] = ()) -> None:
        self._local = _UNIX in networks
        self._networks = [ipaddress.ip_network(network) for network in networks if network != _UNIX]

    def __bool__(self) -> bool:
        """Returns whether any proxy is believed."""
        return self._local or bool(self._networks)

    def __contains__(self, host: object) -> bool:
        """Returns whether `host` is the address of a trusted proxy; that of a Unix socket is empty."""
        if not host:
            return self._local
        if not self._networks:
            return False
        address = read_address(host) if isinstance(host, str) else None
        return address is not None and any(address in network for network in self._networks)

    def client(self, values: Sequence[bytes]) -> str | None:
        """Returns the address behind the trusted proxies: the rightmost that is not theirs.

        Reads 2,048 bytes at most, from the end. A text that is no address ends the search.

        Args:
            values: X-Forwarded-For, one value for each header of that name.

        Returns:
            The address without port; None if all are trusted, or one is no address.
        """
        joined = b",".join(value[-_READ_BYTES - 1 :] for value in values)
        hops = joined[-_READ_BYTES:].decode("latin-1").split(",")
        if len(joined) > _READ_BYTES:
            del hops[0]  # perhaps cut in its midst
        for hop in reversed(hops):
            address = read_address(hop.strip())
            if address is None:
                return None
            if not any(address in network for network in self._networks):
                return str(address)
        return None

    def believe(self, scope: Scope) -> None:
        """Sets `client` and `scheme` of a request to what its trusted proxy says; leaves all other requests alone.

        Args:
            scope: The request's (ASGI), with X-Forwarded-For and X-Forwarded-Proto among its fields.
        """
        client = scope.get("client")
        if (client[0] if client else "") not in self:  # that of a Unix socket has none
            return
        values: dict[bytes, list[bytes]] = {name: [] for name in FORWARDED}
        for name, value in scope["headers"]:
            if name in values:
                values[name].append(value)
        address = self.client(values[_FOR])
        if address is not None:
            scope["client"] = (address, 0)  # the port is unknown
        if values[_PROTO]:
            said = values[_PROTO][-1].rpartition(b",")[2].strip().lower()
            if said in (b"http", b"https"):
                table = _SECURE if said == b"https" else _PLAIN
                scope["scheme"] = table.get(scope["scheme"], scope["scheme"])


class ProxyHeaders:
    """ASGI middleware: takes `client` and `scheme` of a request from its trusted proxy (`TrustedProxies.believe`).

    Args:
        app: The application.
        trusted: The proxies that are believed.
    """

    def __init__(self, app: ASGIApp, trusted: TrustedProxies) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] in ("http", "websocket"):
            self._trusted.believe(scope)
        await self._app(scope, receive, send)

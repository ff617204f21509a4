"""The server's address, as the request that starts the demo reached it: the simulated clients connect to it."""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple
from urllib.parse import SplitResult, quote

from starlette.requests import HTTPConnection

from ...core.addresses import is_loopback
from ...transport.proxies import is_passed_on


class Target(NamedTuple):
    """The server's address, and the prefix of its paths.

    Attributes:
        family: Of the address, as in `socket.AF_INET`.
        address: IP address and port.
        host: Value of the Host header.
        prefix: Part of the path before "/ws", such as "/api"; may be empty.
        headers: More lines for the handshakes of its clients.
    """

    family: int
    address: tuple[str, int]
    host: str
    prefix: str
    headers: tuple[str, ...] = ()

    @property
    def server(self) -> tuple[tuple[str, int], str]:
        """The server's identity: requests under different Host headers may reach one server."""
        return self.address, self.prefix

    def url(self, path: str, query: str) -> SplitResult:
        """Returns the URL of one of the server's WebSockets."""
        return SplitResult("ws", self.host, quote(self.prefix + path), query, "")


def credentials_of(connection: HTTPConnection) -> tuple[str, ...]:
    """Returns the lines of a request that carry its key or token: the simulated clients listen by its rights."""
    names = ("Authorization", "X-API-Key")
    return tuple(f"{name}: {connection.headers[name]}" for name in names if name in connection.headers)


def is_local(connection: HTTPConnection) -> bool:
    """Returns whether a program on this machine sent the request, without a proxy in between."""
    host = connection.client.host if connection.client is not None else ""
    return is_loopback(host) and not is_passed_on(connection.headers)


def why_not(connection: HTTPConnection) -> str | None:
    """Returns why simulated clients cannot connect to the server that got this request; None if they can."""
    if connection.scope["scheme"] == "https" and "x-forwarded-proto" not in connection.headers:
        return "the demo is not available over TLS: its clients speak plain WebSocket"
    if not isinstance((connection.scope.get("server") or ("", None))[1], int):
        return "the demo is not available here: its clients need a TCP port to connect to"
    return None


def find_target(connection: HTTPConnection, *, route: str) -> Target:
    """Returns the target of a server that answers at `route` ("/demo") below some prefix; `why_not` comes first."""
    host, port = connection.scope["server"]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name stands for this machine
        address = ipaddress.IPv4Address("127.0.0.1")
    if address.is_link_local or address.is_unspecified:  # the first needs an interface, the second is no destination
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")  # noqa: PLR2004 - IPv4
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4
    own = f"[{address}]:{port}" if family == socket.AF_INET6 else f"{address}:{port}"
    return Target(family, (str(address), port), connection.headers.get("host", own), _prefix(connection, route))


def _prefix(connection: HTTPConnection, route: str) -> str:
    """Returns the prefix of `route` on the wire, where the server's own root path does not stand."""
    path: str = connection.scope["path"]
    root: str = connection.scope.get("app_root_path", connection.scope.get("root_path", "")).rstrip("/")
    return path.removeprefix(root).removesuffix(route) if path.startswith(f"{root}/") else path.removesuffix(route)

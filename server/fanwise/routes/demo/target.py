"""Where the server is, as the request that starts the demo came in: that is where the simulated clients connect."""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple
from urllib.parse import SplitResult, quote

from starlette.requests import HTTPConnection

from ...transport.addresses import is_loopback

# Each says that somebody else's request was passed on: then it is not the sender's address that we see.
_PASSED_ON = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


class Target(NamedTuple):
    """The server's address and what stands before its paths.

    Attributes:
        family: Of the address, as in `socket.AF_INET`.
        address: IP address and port.
        host: What the Host header says.
        prefix: What comes before "/ws", as in "/api"; "" for nothing.
    """

    family: int
    address: tuple[str, int]
    host: str
    prefix: str

    @property
    def server(self) -> tuple[tuple[str, int], str]:
        """What tells servers apart: one that is asked under another name is the same."""
        return self.address, self.prefix

    def url(self, path: str, query: str) -> SplitResult:
        """The URL of one of our WebSockets."""
        return SplitResult("ws", self.host, quote(self.prefix + path), query, "")


def is_local(connection: HTTPConnection) -> bool:
    """Whether the request was sent on this machine, and by nobody in somebody else's name."""
    host = connection.client.host if connection.client is not None else ""
    return is_loopback(host) and not any(name in connection.headers for name in _PASSED_ON)


def why_not(connection: HTTPConnection) -> str | None:
    """Why simulated clients could not connect to the server that got this request; None if they can."""
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
    except ValueError:  # no address: what there is then is this machine's own
        address = ipaddress.IPv4Address("127.0.0.1")
    if address.is_link_local or address.is_unspecified:  # one means nothing without an interface, one is nobody's
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")  # noqa: PLR2004 - IPv4
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4
    own = f"[{address}]:{port}" if family == socket.AF_INET6 else f"{address}:{port}"
    return Target(family, (str(address), port), connection.headers.get("host", own), _prefix(connection, route))


def _prefix(connection: HTTPConnection, route: str) -> str:
    """What came before `route` on the wire: an ASGI path has the server's own root path in front, which did not."""
    path: str = connection.scope["path"]
    root: str = connection.scope.get("app_root_path", connection.scope.get("root_path", "")).rstrip("/")
    return path.removeprefix(root).removesuffix(route) if path.startswith(f"{root}/") else path.removesuffix(route)

"""Hosts that the server answers for: the check of the Host header against DNS rebinding.

A name that resolves to 127.0.0.1 gives a stranger's page the server's own origin. The browser still sends that name as
Host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final

from ...core.addresses import is_port, read_address
from ...transport.handshakes import Asked

LOOPBACK: Final = ("localhost", "127.0.0.0/8", "[::1]")


class Hosts:
    """The hosts that requests may name.

    Args:
        allowed: Names, addresses and networks, such as "example.com", "[::1]" and "127.0.0.0/8", without ports;
            "*" allows all.
    """

    def __init__(self, allowed: Collection[str] = ("*",)) -> None:
        self._all = "*" in allowed
        networks = {host: read_network(host) for host in allowed}
        self._networks = [network for network in networks.values() if network is not None]
        self._names = {host.lower() for host, network in networks.items() if network is None}
        self._latest = ""  # that was allowed: most connections name the same

    def allow(self, connection: Asked) -> bool:
        """Returns whether the host that the request names is allowed: True for programs that name none (HTTP/1.0)."""
        host = connection.headers.get("host")
        if host is None or self._all or (host and host == self._latest):
            return True
        if self._knows(host):
            self._latest = host
            return True
        return False

    def _knows(self, host: str) -> bool:
        address = read_address(host)
        if address is not None:
            return any(address in network for network in self._networks)
        name, colon, port = host.lower().partition(":")
        return name.removesuffix(".") in self._names and (not colon or is_port(colon + port))


def read_network(host: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Returns the network of "127.0.0.0/8", "127.0.0.1" or "[::1]"; None for a name."""
    try:
        return ipaddress.ip_network(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None

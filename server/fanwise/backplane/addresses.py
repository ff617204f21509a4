"""What addresses of all engines have in common: hosts with ports, certificates, and errors that show no password."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ..errors import SettingsError

OPTIONS: Final = frozenset({"ca", "cert", "key"})  # of URLs with TLS


def read_host(parts: SplitResult, text: str, default_port: int) -> tuple[str, int]:
    """Returns host and port of "host", "host:port" or "[::1]:port", a part of a URL.

    Raises:
        SettingsError: The text is none of them.
    """
    try:
        one = urlsplit(f"//{text}")
        host, port = one.hostname, one.port
    except ValueError:
        host, port = None, None
    if not host or port == 0:
        raise wrong(parts, f"{text!r} is no host, and no host:port with a port of 1 to 65535")
    return host, default_port if port is None else port


def show_hosts(hosts: Iterable[tuple[str, int]]) -> str:
    """Returns hosts and ports as a URL has them."""
    return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in hosts)


def tls_context(address: object, *, ca: str, cert: str, key: str) -> ssl.SSLContext:
    """Returns what TLS needs. Raises SettingsError, which names `address`, if a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert:
            context.load_cert_chain(cert, key or None)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError([f"backplane {address}: its certificates cannot be used: {error}"]) from error
    return context


def wrong(parts: SplitResult, problem: str) -> SettingsError:
    """Returns the error for a URL, of which the text shows neither user nor password."""
    return SettingsError([f"backplane {parts.scheme}://...{parts.netloc.rpartition('@')[2]}{parts.path}: {problem}"])

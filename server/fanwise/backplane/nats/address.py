"""Where an engine is: `nats://` and `tls://`, one server or several of a cluster."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from ..addresses import OPTIONS, read_host, show_hosts, tls_context, wrong

_PORT = 4222
_SCHEMES = ("nats", "tls")
BEGINNINGS = tuple(f"{scheme}:" for scheme in _SCHEMES)


@dataclass(frozen=True, kw_only=True)
class Address:
    """A server, or several servers of one cluster.

    Attributes:
        hosts: (host, port) each; they are tried in turn.
        user: Empty for none.
        password: Empty for none: then `user` is a token. Not shown.
        tls: Whether TLS is demanded; it is used as well where the server demands it.
        ca: A file with the certificates that are trusted; empty: those of the system.
        cert: A file with our certificate; empty for none.
        key: A file with its key; empty: it is in `cert`.
    """

    hosts: tuple[tuple[str, int], ...]
    user: str = ""
    password: str = ""
    tls: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""

    def __repr__(self) -> str:
        return f"<Address {self}>"

    def __str__(self) -> str:
        """The URL without user and password."""
        return f"{'tls' if self.tls else 'nats'}://{show_hosts(self.hosts)}"

    @property
    def secret(self) -> str:
        """The password or token; empty for none."""
        return self.password or self.user

    def context(self) -> ssl.SSLContext:
        """Returns what TLS needs. Raises SettingsError if a file cannot be used."""
        return tls_context(self, ca=self.ca, cert=self.cert, key=self.key)


def parse(url: str) -> Address:
    """Returns the address of a URL.

    Raises:
        SettingsError: The URL is none of those that are allowed. Its text names no password.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise wrong(parts, f"its scheme is none of {', '.join(_SCHEMES)}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if options.keys() - OPTIONS or parts.fragment or parts.path.strip("/"):
        raise wrong(parts, f"it may have the options {', '.join(sorted(OPTIONS))} and nothing else behind its hosts")
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    if options and parts.scheme != "tls":
        raise wrong(parts, "ca, cert and key are for tls://")
    found = tuple(read_host(parts, one, _PORT) for one in hosts.split(","))
    return Address(hosts=found, user=unquote(user), password=unquote(password), tls=parts.scheme == "tls", **options)

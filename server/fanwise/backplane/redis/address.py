"""Where an engine is: `redis://`, `rediss://`, `unix://` and `redis+sentinel://`."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote, urlsplit

from ..addresses import OPTIONS, read_host, show_hosts, tls_context, wrong

_PORT, _SENTINEL_PORT = 6379, 26379
_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")


@dataclass(frozen=True, kw_only=True)
class Address:
    """An engine, or the sentinels that know where it is.

    Attributes:
        hosts: (host, port) each: one engine, or the sentinels.
        path: Of a Unix socket; empty for none.
        service: The name under which the sentinels know the engine; empty without sentinels.
        user: Of the engine's access list; empty: its default user.
        password: Empty for none. Not shown.
        tls: Whether to use TLS.
        ca: A file with the certificates that are trusted; empty: those of the system.
        cert: A file with our certificate; empty for none.
        key: A file with its key; empty: it is in `cert`.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
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
        if self.path:
            return f"unix://{self.path}"
        scheme = ("rediss" if self.tls else "redis") + ("+sentinel" if self.service else "")
        return f"{scheme}://{show_hosts(self.hosts)}" + (f"/{self.service}" if self.service else "")

    @property
    def secret(self) -> str:
        """The password; empty for none."""
        return self.password

    @property
    def login(self) -> tuple[str, ...]:
        """What HELLO takes of user and password."""
        return ("AUTH", self.user or "default", self.password) if self.password else ()

    def context(self) -> ssl.SSLContext | None:
        """Returns what TLS needs; None without. Raises SettingsError if a file cannot be used."""
        if not self.tls:
            return None
        return tls_context(self, ca=self.ca, cert=self.cert, key=self.key)


def parse(url: str) -> Address:
    """Returns the address of a URL.

    Raises:
        SettingsError: The URL is none of those that are allowed. Its text names no password.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise wrong(parts, f"its scheme is none of {', '.join(_SCHEMES)}, nats, tls")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if options.keys() - OPTIONS or parts.fragment:
        raise wrong(parts, f"it may have the options {', '.join(sorted(OPTIONS))} and nothing else behind its path")
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    user, password = unquote(user), unquote(password)
    if user and not password:
        raise wrong(parts, "it has a user and no password: user:password@, or :password@")
    if parts.scheme == "unix":
        if hosts or not parts.path or options:
            raise wrong(parts, "it looks like unix:///path/of/socket")
        return Address(path=unquote(parts.path), user=user, password=password)
    tls = parts.scheme.startswith("rediss")
    if options and not tls:
        raise wrong(parts, "ca, cert and key are for rediss://")
    ca, cert, key = (options.get(name, "") for name in ("ca", "cert", "key"))
    common = Address(user=user, password=password, tls=tls, ca=ca, cert=cert, key=key)
    place = parts.path.strip("/")
    if parts.scheme.endswith("+sentinel"):
        if not place or "/" in place:
            raise wrong(parts, "it looks like redis+sentinel://host:26379,host:26379/NAME")
        found = tuple(read_host(parts, one, _SENTINEL_PORT) for one in hosts.split(","))
        return replace(common, hosts=found, service=unquote(place))
    if place not in ("", "0"):
        raise wrong(parts, "only database 0 is used, as pub/sub knows no databases: choose another prefix")
    return replace(common, hosts=(read_host(parts, hosts, _PORT),))

"""Where an engine is: `redis://`, `rediss://`, `unix://` and `redis+sentinel://`."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ...errors import SettingsError

_PORT, _SENTINEL_PORT = 6379, 26379
_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_OPTIONS = {"ca", "cert", "key"}


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
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{scheme}://{hosts}" + (f"/{self.service}" if self.service else "")

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
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.cert:
                context.load_cert_chain(self.cert, self.key or None)
        except OSError as error:  # ssl.SSLError is one
            raise SettingsError([f"backplane {self}: its certificates cannot be used: {error}"]) from error
        return context


def parse(url: str) -> Address:
    """Returns the address of a URL.

    Raises:
        SettingsError: The URL is none of those that are allowed. Its text names no password.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise _wrong(parts, f"its scheme is none of {', '.join(_SCHEMES)}, nats, tls")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if options.keys() - _OPTIONS or parts.fragment:
        raise _wrong(parts, f"it may have the options {', '.join(sorted(_OPTIONS))} and nothing else behind its path")
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    user, password = unquote(user), unquote(password)
    if user and not password:
        raise _wrong(parts, "it has a user and no password: user:password@, or :password@")
    if parts.scheme == "unix":
        if hosts or not parts.path or options:
            raise _wrong(parts, "it looks like unix:///path/of/socket")
        return Address(path=unquote(parts.path), user=user, password=password)
    tls = parts.scheme.startswith("rediss")
    if options and not tls:
        raise _wrong(parts, "ca, cert and key are for rediss://")
    ca, cert, key = (options.get(name, "") for name in ("ca", "cert", "key"))
    common = Address(user=user, password=password, tls=tls, ca=ca, cert=cert, key=key)
    place = parts.path.strip("/")
    if parts.scheme.endswith("+sentinel"):
        if not place or "/" in place:
            raise _wrong(parts, "it looks like redis+sentinel://host:26379,host:26379/NAME")
        found = tuple(_host(parts, one, _SENTINEL_PORT) for one in hosts.split(","))
        return replace(common, hosts=found, service=unquote(place))
    if place not in ("", "0"):
        raise _wrong(parts, "only database 0 is used, as pub/sub knows no databases: choose another prefix")
    return replace(common, hosts=(_host(parts, hosts, _PORT),))


def _host(parts: SplitResult, text: str, default_port: int) -> tuple[str, int]:
    try:
        one = urlsplit(f"//{text}")
        host, port = one.hostname, one.port
    except ValueError:
        host, port = None, None
    if not host:
        raise _wrong(parts, f"{text!r} is no host, and no host:port")
    return host, port or default_port


def _wrong(parts: SplitResult, problem: str) -> SettingsError:
    return SettingsError([f"backplane {parts.scheme}://...{parts.netloc.rpartition('@')[2]}{parts.path}: {problem}"])

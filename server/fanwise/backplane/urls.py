"""A backplane from its URL; each engine is imported when it is asked for."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Final, cast
from urllib.parse import urlsplit

from ..core.namespaces import Namespaces
from ..errors import SettingsError
from .nats import address as nats
from .options import Options, of_channels
from .port import Backplane
from .redis import address as redis

_BOUNDS: Final = ("history_messages", "history_bytes", "history_seconds", "publish_seconds")  # of a node, too
_HIDDEN_CHARACTERS: Final = 8  # a shorter password would be found in words of the log


def open_backplane(node: Any, namespaces: Namespaces) -> Backplane:
    """Returns the backplane of a `Broadcaster` that has one: what it was given, or one for its URLs.

    Raises what `backplane_from` raises.
    """
    if not isinstance(node.backplane, str):
        return cast("Backplane", node.backplane)
    own: dict[str, Any] = {name: getattr(node, name) for name in _BOUNDS}
    own |= {name: getattr(node, f"backplane_{name}") for name in ("prefix", "durable", "live_bytes")}
    given: int | None = node.backplane_replicas
    own["replicas"] = default_replicas(node.backplane) if given is None else given
    return backplane_from(node.backplane, Options(**own, **of_channels(namespaces)))


def backplane_from(urls: str, options: Options) -> Backplane:
    """Returns a backplane that is not connected yet. Several URLs, with spaces between, are shards.

    Raises:
        SettingsError: A URL is not allowed, or the engine's extra is not installed. Its text names no password.
    """
    addresses = check(urls)
    if isinstance(addresses, nats.Address):
        from .nats.backplane import NatsBackplane  # noqa: PLC0415 - imported by those who use it

        return NatsBackplane(addresses, options)
    from .redis.backplane import RedisBackplane  # noqa: PLC0415 - hiredis is imported by those who use it

    return RedisBackplane(addresses, options)


def check(urls: str) -> list[redis.Address] | nats.Address:
    """Returns the addresses, for which everything is installed.

    Raises:
        SettingsError: A URL is not allowed, or the engine's extra is not installed.
    """
    addresses = _parsed(urls)
    if isinstance(addresses, list) and find_spec("hiredis") is None:
        raise SettingsError(["the backplane needs the extra `redis`: pip install 'fanwise[redis]'"])
    return addresses


def shown(urls: str) -> str:
    """Returns the URLs without users and passwords. Raises SettingsError if one is not allowed."""
    return " ".join(map(str, _each(urls)))


def passwords(urls: str) -> list[str]:
    """Returns the passwords in URLs that a log must not show, and can be told from words."""
    return [address.secret for address in _each(urls) if len(address.secret) >= _HIDDEN_CHARACTERS]


def default_replicas(urls: str) -> int:
    """Returns how many replicas a publication waits for unless that is set.

    One behind sentinels, which promote it, and in a cluster of NATS; none else.
    """
    return 1 if any(_is_replicated(address) for address in _each(urls)) else 0


def _is_replicated(address: redis.Address | nats.Address) -> bool:
    return len(address.hosts) > 1 if isinstance(address, nats.Address) else bool(address.service)


def _each(urls: str) -> list[redis.Address] | list[nats.Address]:
    addresses = _parsed(urls)
    return addresses if isinstance(addresses, list) else [addresses]


def _parsed(urls: str) -> list[redis.Address] | nats.Address:
    found = urls.split()
    if not found:
        raise SettingsError(["the backplane is empty: it looks like redis://host:6379, or nats://host:4222"])
    for url in found:  # a password with a space looks like two
        _check_login(url)
    if not any(url.startswith(nats.BEGINNINGS) for url in found):
        return [redis.parse(url) for url in found]
    if len(found) > 1:
        raise SettingsError(["several backplanes are for Redis: a cluster of NATS is one, nats://host,host,host"])
    return nats.parse(found[0])


def _check_login(url: str) -> None:
    """Raises SettingsError if the host ends before the last @, as with a / in a password, which is not shown."""
    with suppress(ValueError):  # a [ that nothing closes
        parts = urlsplit(url)
        whole = "@" in parts.netloc if parts.netloc else parts.scheme == "unix"
        behind = parts.query + parts.fragment + ("" if parts.scheme == "unix" and whole else parts.path)
        if "@" not in behind:
            return
    problem = "in users, passwords and options / ? # [ ] @ and space are written as %2F %3F %23 %5B %5D %40 and %20"
    raise SettingsError([f"backplane ...{url.rpartition('@')[2] if '@' in url else ''}: {problem}"])

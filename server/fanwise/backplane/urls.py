"""A backplane from its URL; each engine is imported when it is asked for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from ..errors import SettingsError
from .options import Options
from .port import Backplane
from .redis.address import Address, parse

_HIDDEN_CHARACTERS: Final = 8  # a shorter password would be found in words of the log


def backplane_from(urls: str, options: Options) -> Backplane:
    """Returns a backplane that is not connected yet. Several URLs, with spaces between, are shards.

    Raises:
        SettingsError: A URL is not allowed, or the engine's extra is not installed. Its text names no password.
    """
    addresses = check(urls)
    from .redis.backplane import RedisBackplane  # noqa: PLC0415 - hiredis is imported by those who use it

    return RedisBackplane(addresses, options)


def check(urls: str) -> list[Address]:
    """Returns the addresses, for which everything is installed.

    Raises:
        SettingsError: A URL is not allowed, or the engine's extra is not installed.
    """
    addresses = _parsed(urls)
    if find_spec("hiredis") is None:
        raise SettingsError(["the backplane needs the extra `redis`: pip install 'fanwise[redis]'"])
    return addresses


def shown(urls: str) -> str:
    """Returns the URLs without users and passwords. Raises SettingsError if one is not allowed."""
    return " ".join(map(str, _parsed(urls)))


def passwords(urls: str) -> list[str]:
    """Returns the passwords in URLs that a log must not show, and can be told from words."""
    return [address.password for address in _parsed(urls) if len(address.password) >= _HIDDEN_CHARACTERS]


def default_replicas(urls: str) -> int:
    """Returns how many replicas a publication waits for unless that is set: 1 behind sentinels, which promote one."""
    return 1 if any(address.service for address in _parsed(urls)) else 0


def _parsed(urls: str) -> list[Address]:
    addresses = [parse(url) for url in urls.split()]
    if not addresses:
        raise SettingsError(["the backplane is empty: it looks like redis://host:6379"])
    return addresses

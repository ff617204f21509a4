"""A backplane from its URL; each engine is imported when it is asked for."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import SettingsError
from .options import Options
from .port import Backplane


def backplane_from(urls: str, options: Options) -> Backplane:
    """Returns a backplane that is not connected yet. Several URLs, with spaces between, are shards.

    Raises:
        SettingsError: A URL is not allowed, or the engine's extra is not installed. Its text names no password.
    """
    if find_spec("hiredis") is None:
        raise SettingsError(["the backplane needs the extra `redis`: pip install 'fanwise[redis]'"])
    from .redis.address import parse  # noqa: PLC0415 - hiredis is imported by those who use it
    from .redis.backplane import RedisBackplane  # noqa: PLC0415

    addresses = [parse(url) for url in urls.split()]
    if not addresses:
        raise SettingsError(["the backplane is empty: it looks like redis://host:6379"])
    return RedisBackplane(addresses, options)

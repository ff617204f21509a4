"""What an operator should know about an engine before servers use it: `fanwise doctor` asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from ..errors import SettingsError
from ..tools.doctor.engine import EngineFacts
from .nats import address as nats
from .redis.address import Address
from .urls import check


async def examine(urls: str, *, prefix: str, durable: bool) -> Sequence[EngineFacts]:
    """Asks each engine; writes a key for a second at most, to see whether servers may.

    Raises:
        SettingsError: A URL is not allowed, or the engine's extra is not installed.
    """
    addresses = check(urls)
    if isinstance(addresses, nats.Address):
        return [await _examine_nats(addresses)]
    return [await _examine_redis(address, prefix, durable=durable) for address in addresses]


async def _examine_redis(address: Address, prefix: str, *, durable: bool) -> EngineFacts:
    from .redis.facts import ask  # noqa: PLC0415 - hiredis is imported by those who use it

    try:
        return EngineFacts(str(address), **await ask(address, prefix, durable=durable))
    except (OSError, SettingsError) as error:
        return EngineFacts(str(address), problem=_said(address, error))


async def _examine_nats(address: nats.Address) -> EngineFacts:
    from .nats.dial import ApiError, api, dial  # noqa: PLC0415 - imported by those who use it

    try:
        link = await dial(address, 0, "fanwise-doctor", lambda _: None)
        try:
            began = time.monotonic()
            async with asyncio.timeout(1):
                await api(link, "INFO")
            seconds = time.monotonic() - began
            return EngineFacts(str(address), "", f"nats-server {link.info.get('version', '')}", seconds)
        finally:
            link.abort()
    except (OSError, ApiError, SettingsError) as error:
        return EngineFacts(str(address), problem=_said(address, error))


def _said(address: Address | nats.Address, error: Exception) -> str:
    return str(error).removeprefix(f"backplane {address}: ") or type(error).__name__

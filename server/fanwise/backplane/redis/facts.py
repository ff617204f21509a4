"""What Redis says of itself to an operator."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import hiredis

from .address import Address
from .dial import dial
from .link import Link

_SECONDS: Final = 2.0
# May a server write and publish under its prefix? Deletes itself.
_TRIAL: Final = "redis.call('SET', KEYS[1], '1', 'PX', 1000) redis.call('PUBLISH', KEYS[1], '1') return 1"
_PUSHED_LIMIT: Final = "pubsub"


async def ask(address: Address, prefix: str, *, durable: bool) -> dict[str, Any]:
    """Returns the fields of an `EngineFacts`, beside its address.

    Raises:
        OSError: It cannot be reached, or does not answer.
        SettingsError: It refuses us, or it is not what a backplane needs.
    """
    dialled = await dial(address, "fanwise-doctor", durable=durable, on_push=_ignore, on_lost=_ignore)
    try:
        async with asyncio.timeout(_SECONDS):
            return {"engine": dialled.engine, **await _ask(dialled.link, prefix)}
    finally:
        dialled.link.abort()


async def _ask(link: Link, prefix: str) -> dict[str, Any]:
    began = time.monotonic()
    await link.ask("PING")
    found: dict[str, Any] = {"ping_seconds": time.monotonic() - began}
    try:
        await link.ask("EVAL", _TRIAL, 1, f"{prefix}:{{0}}:doctor")
    except hiredis.ReplyError as error:
        found["problem"] = str(error)
    info = _read_info(await link.ask("INFO"))
    found |= {"max_bytes": int(info.get("maxmemory", 0)), "policy": info.get("maxmemory_policy", "")}
    found["replicas"] = int(info.get("connected_slaves", 0))
    found["fsync"] = await _config(link, "appendfsync") if info.get("aof_enabled") == "1" else "off"
    return {**found, "pushed_bytes": _pushed_bytes(await _config(link, "client-output-buffer-limit"))}


async def _config(link: Link, name: str) -> str:
    """Returns a parameter; empty where the engine does not tell it, as managed ones do."""
    try:
        found = await link.ask("CONFIG", "GET", name)
    except hiredis.ReplyError:
        return ""
    return str(found[name.encode()].decode()) if found else ""


def _pushed_bytes(limits: str) -> int | None:
    words = limits.split()
    return int(words[words.index(_PUSHED_LIMIT) + 1]) if _PUSHED_LIMIT in words else None


def _read_info(info: Any) -> dict[str, str]:
    text = info.decode() if isinstance(info, bytes) else str(info)
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def _ignore(_: object) -> None:
    """Hears what is of no interest here."""

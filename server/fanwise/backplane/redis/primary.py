"""Where the primary is now: as sentinels know it, or as its name resolves."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

import hiredis

from .address import Address
from .link import Link, LinkError

SENTINEL_SECONDS: Final = 0.7  # for the answer of each; they are all asked at once
_SENTINEL_LOOK_SECONDS, _NAME_LOOK_SECONDS = 5.0, 30.0

Place: TypeAlias = tuple[str, int]
"""Host and port."""


def look_seconds(address: Address) -> float | None:
    """Returns how often to look whether the primary is elsewhere; None: an address leads to one place only."""
    if address.service:
        return _SENTINEL_LOOK_SECONDS
    with suppress(ValueError, IndexError):
        ip_address(address.hosts[0][0])
        return None
    return None if address.path else _NAME_LOOK_SECONDS


async def has_moved(address: Address, asked: Place | None, peer: Place | None) -> bool:
    """Whether the primary is not where a link leads any more; False if that cannot be known.

    Args:
        address: Of the engine.
        asked: The place that was connected to: a name or a number.
        peer: The number that it was.
    """
    try:
        if address.service:
            return await primary(address) != asked
        host, port = address.hosts[0]
        found = await asyncio.get_running_loop().getaddrinfo(host, port)
    except OSError:
        return False
    return peer is not None and peer not in {place[4][:2] for place in found}


async def primary(address: Address) -> Place:
    """Returns the place of the primary, as most of the sentinels that answer know it. Raises LinkError."""
    answers = await asyncio.gather(*(_answer(address, host, port) for host, port in address.hosts))
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        raise LinkError(f"no sentinel of {address} knows where {address.service} is")
    return votes.most_common(1)[0][0]


async def _answer(address: Address, host: str, port: int) -> Place | None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(SENTINEL_SECONDS):
            _, link = await loop.create_connection(
                lambda: Link(lambda _: None, lambda _: None), host, port, ssl=address.context()
            )
            try:
                found = await _ask(link, address)
            finally:
                link.abort()
    except (OSError, hiredis.ReplyError):
        return None
    return None if found is None else (found[0].decode(), int(found[1]))


async def _ask(link: Link, address: Address) -> Any:
    question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service)
    try:
        return await link.ask(*question)
    except hiredis.ReplyError as error:
        if not str(error).startswith("NOAUTH") or not address.login:
            raise
    await link.ask(*address.login)  # sentinels that ask for a password have that of the engine
    return await link.ask(*question)

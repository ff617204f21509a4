"""Looks at an engine: whether a channel is there, which does not begin for that."""

from __future__ import annotations

import asyncio
from functools import partial

from ..backplane.port import ONLY_LOOK, Backplane, Opened
from ..errors import BackplaneDownError


async def is_published(backplane: Backplane, channel: str, *, within_seconds: float) -> bool:
    """Returns whether the engine has a publication of a channel, or had one lately.

    Raises:
        BackplaneDownError: The engine has not answered in time.
    """
    future: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
    backplane.open(channel, ONLY_LOOK, partial(_settle, future))
    try:
        async with asyncio.timeout(within_seconds):
            return (await future).head > 0
    except TimeoutError:
        raise BackplaneDownError(backplane.standing().why or "it does not answer") from None


def _settle(future: asyncio.Future[Opened], found: Opened | Exception) -> None:
    if future.done():  # the wait has ended
        return
    if isinstance(found, Exception):
        future.set_exception(found)
    else:
        future.set_result(found)

"""A link that is lost is dialled again, after pauses that grow."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import NoReturn

from ..errors import SettingsError

_LEAST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS = 0.01, 0.5  # between two attempts: half of it at least, by chance


async def stay_connected(
    connect: Callable[[], Awaitable[None]],
    *,
    is_up: Callable[[], bool],
    lost: asyncio.Event,
    failed: Callable[[Exception], None],
) -> NoReturn:
    """Connects whenever there is no link, until it is cancelled.

    Args:
        connect: Makes a link. May raise OSError and SettingsError.
        is_up: Whether there is one.
        lost: Set when it is lost; `connect` clears it.
        failed: Hears what `connect` has raised.
    """
    pause = _LEAST_PAUSE_SECONDS
    while True:
        if is_up():
            await lost.wait()
            pause = _LEAST_PAUSE_SECONDS
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        pause = min(2 * pause, _MOST_PAUSE_SECONDS)
        try:
            await connect()
        except (OSError, SettingsError) as error:
            failed(error)

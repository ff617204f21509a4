"""Many messages in one call: some are under way at a time, and the answers are collected in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from ..core.publication import Position
from .errors import BatchError, ClientError

IN_FLIGHT = 256  # messages without an answer


async def publish_all(
    publish: Callable[[Any], Coroutine[Any, Any, Position]], messages: Iterable[Any]
) -> list[Position]:
    """Publishes each message in its turn; returns their positions. No message is sent after the first that failed.

    Raises:
        BatchError: A message was not published, or may not have been.
    """
    window: deque[asyncio.Task[Position]] = deque()
    positions: list[Position] = []
    try:
        for data in messages:
            if len(window) == IN_FLIGHT:
                positions.append(await _first(window))
            window.append(asyncio.create_task(publish(data)))
        while window:
            positions.append(await _first(window))
    except ClientError as error:
        rest = await asyncio.gather(*window, return_exceptions=True)
        known = [one for one in rest if isinstance(one, Position | ClientError)]
        raise BatchError([*positions, error, *known]) from error
    finally:
        for task in window:
            task.cancel()
    return positions


async def _first(window: deque[asyncio.Task[Position]]) -> Position:
    return await window.popleft()

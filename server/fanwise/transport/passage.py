"""The way of a response's bytes from the application to the transport, and whether the connection may leave it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .event_stream_connection import HEARTBEAT_CHUNK, EventStreamConnection
from .leased_transport import NO_TRANSPORT


class Passage:
    """Stands in for the transport of a response while the application sends its head and one comment.

    Owns the invariant: a connection is taken out of an application only if the comment has reached the server as it was
    sent. Middleware that keeps, packs or rewrites the body changes or delays it, and goes on seeing the whole body.

    Args:
        transport: Gets all that is written, but the comment.
        cycle: uvicorn's response, which writes to the transport; None: there is none.
        take: Makes the connection, whose comments come at the given interval in seconds; None if that has ended.

    Attributes:
        passed: Whether the comment has come.
    """

    __slots__ = ("_cycle", "_take", "_transport", "passed")

    def __init__(
        self, transport: asyncio.Transport, cycle: Any, take: Callable[[float], EventStreamConnection | None]
    ) -> None:
        self._transport = transport
        self._cycle = cycle
        self._take = take
        self.passed = False

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Notes the comment, once; gives all else to the transport."""
        if self.passed or data != HEARTBEAT_CHUNK:
            self._transport.write(data)
        else:
            self.passed = True

    def take(self, interval_seconds: float) -> EventStreamConnection | None:
        """Returns the connection, which is the application's no more; None if it has ended."""
        self.leave()
        return self._take(interval_seconds)

    def leave(self) -> None:
        """Has the response write to its transport again."""
        if self._cycle is not None:
            self._cycle.transport = self._transport


def gone(_scope: object) -> Passage:
    """Returns the passage of a response whose connection has ended: all passes, and nothing can be taken."""
    passage = Passage(NO_TRANSPORT, None, _nothing)
    passage.passed = True
    return passage


def _nothing(_interval_seconds: float) -> None:
    """Takes the place of what makes a connection."""

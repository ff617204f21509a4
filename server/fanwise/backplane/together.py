"""Several publications that somebody waits for together."""

from __future__ import annotations

import asyncio

from ..core.publication import Position


class Together:
    """Stands in for the futures of several publications, and owns the one future of all.

    That has the position of the one that was answered last, once all are published; or the first error, which is that
    of all that are left: those that were not sent yet are not sent then.

    Args:
        loop: The event loop.
        count: How many publications there are, at least 1.

    Attributes:
        future: The future.
        left: How many have not been answered.
    """

    __slots__ = ("future", "left")

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int) -> None:
        self.future: asyncio.Future[Position] = loop.create_future()
        self.left = count

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self.future.done()

    def set_result(self, position: Position) -> None:
        """Hears the position of one of them."""
        self.left -= 1
        if not self.left:
            self.future.set_result(position)

    def set_exception(self, error: Exception) -> None:
        """Hears why one of them is not published, or perhaps not."""
        self.future.set_exception(error)

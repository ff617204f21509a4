"""Publishing from other threads: a future that does not let the loop wait for itself."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from threading import get_ident
from typing import Any, Generic, TypeVar

from ..errors import ThreadError

Result = TypeVar("Result")


class LoopFuture(concurrent.futures.Future[Result], Generic[Result]):
    """The result of a coroutine on an event loop, for other threads.

    Cancelling it is possible until the coroutine begins.

    Args:
        loop: The event loop.
        thread: The thread that the loop runs in.
        work: Makes the coroutine, on the loop.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, thread: int, work: Callable[[], Coroutine[Any, Any, Result]]
    ) -> None:
        super().__init__()
        self._thread = thread
        self._task: asyncio.Task[Result] | None = None  # event loops hold tasks weakly
        loop.call_soon_threadsafe(self._begin, loop, work)

    def result(self, timeout: float | None = None) -> Result:
        """Waits for the result. Raises ThreadError in the loop's thread, where waiting would never end."""
        self._check_thread()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Waits for the error, None for none. Raises ThreadError in the loop's thread."""
        self._check_thread()
        return super().exception(timeout)

    def _check_thread(self) -> None:
        if get_ident() == self._thread and not self.done():
            raise ThreadError(
                "the event loop's own thread would wait for itself: use `await broadcaster.publish(...)` in "
                "coroutines, and `broadcaster.publish_nowait(...)` in functions that run on the loop"
            )

    def _begin(self, loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, Result]]) -> None:
        if self.set_running_or_notify_cancel():
            self._task = loop.create_task(work(), name="fanwise publish")
            self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Result]) -> None:
        self._task = None
        if task.cancelled():
            self.set_exception(concurrent.futures.CancelledError())
        elif (error := task.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())

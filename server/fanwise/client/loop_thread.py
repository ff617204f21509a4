"""An event loop in a thread of its own, for programs that have none."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError as AbandonedError
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

from .client import FanwiseClient
from .errors import ClosedError

T = TypeVar("T")

# How long `stop` waits for the thread: the closing handshakes of clients are far below.
_STOP_SECONDS = 10.0


class LoopThread:
    """Runs coroutines of other threads. Owns the invariant that each call ends: with its result, or when the loop ends.

    The thread is a daemon, since a program that forgets it must be able to exit. A process that is forked has no such
    thread, and must not touch the loop: both processes share what is below it.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()  # the collector may call `post` and `stop` wherever a thread is
        self._ended = False
        self._clients: set[FanwiseClient] = set()
        self._over = asyncio.Event()
        # No other kind of loop, whatever the policy of the program is: this one lets go of nothing in a forked process.
        self._runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._work, name="fanwise-client", daemon=True)
        self._thread.start()

    @property
    def is_foreign(self) -> bool:
        """Whether this process was forked from the one that has the thread."""
        return os.getpid() != self._process

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Returns what `coroutine` returns; whatever interrupts the wait cancels the coroutine.

        Raises:
            ClosedError: The loop has ended.
            RuntimeError: The caller is the loop's own thread, which would wait for itself.
        """
        if threading.get_ident() == self._thread.ident:
            coroutine.close()
            raise RuntimeError("a function that the client calls on its own thread cannot wait for the client")
        future = self.post(coroutine)
        try:
            return future.result()
        except AbandonedError:
            raise closed() from None
        except BaseException:
            future.cancel()
            raise

    def post(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Starts a coroutine, and does not wait. Raises ClosedError when the loop has ended."""
        if not self.is_foreign:  # whose lock may never be free
            with self._lock:
                if not self._ended:
                    return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        coroutine.close()
        raise closed()

    def keep(self, client: FanwiseClient) -> None:
        """Takes a client whose coroutines run here: it is closed when the loop ends, or before by `release`."""
        self._clients.add(client)

    def stop(self, *, wait: bool = True) -> None:
        """Closes the clients and ends the loop; does nothing in a forked process, and nothing the second time."""
        if self.is_foreign:
            return
        with self._lock:
            if not self._ended:
                self._ended = True
                self._loop.call_soon_threadsafe(self._over.set)  # behind all that was posted
        if wait and threading.get_ident() != self._thread.ident:
            self._thread.join(_STOP_SECONDS)

    def _work(self) -> None:
        with self._runner:
            self._runner.run(self._wait())

    async def _wait(self) -> None:
        await self._over.wait()
        await asyncio.gather(*(client.close() for client in list(self._clients)), return_exceptions=True)

    async def release(self, client: FanwiseClient) -> None:
        """Closes a client that was kept. Runs on the loop."""
        self._clients.discard(client)
        await client.close()


def closed() -> ClosedError:
    """Returns the error of a client that the program has closed."""
    return ClosedError(code=1000, reason="closed by this client")


class Threaded:
    """A function that may block, called in a daemon thread: `await threaded()` returns what the function returns.

    One call is under way at most. A call that hangs keeps its thread, and the next `await` waits for that call.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._call: asyncio.Future[Any] | None = None

    async def __call__(self) -> Any:
        """Returns what the function returns, awaited if it is a coroutine; raises what the function raises."""
        if self._call is None or self._call.done():
            loop = asyncio.get_running_loop()
            self._call = loop.create_future()
            self._call.add_done_callback(_retrieve)
            run = copy_context().run
            arguments = (self._work, loop, self._call)
            threading.Thread(target=run, args=arguments, name="fanwise-token", daemon=True).start()
        result = await asyncio.shield(self._call)
        return await result if inspect.isawaitable(result) else result

    def _work(self, loop: asyncio.AbstractEventLoop, call: asyncio.Future[Any]) -> None:
        result, error = None, None
        try:
            result = self._function()
        except BaseException as raised:  # noqa: BLE001 - it is raised where the call is awaited
            # A future takes no StopIteration, and the end of this thread is not the end of the program.
            error = raised if isinstance(raised, Exception) and not isinstance(raised, StopIteration) else None
            error = error or RuntimeError(f"the function raised {raised!r}")
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_settle, call, result, error)


def _settle(call: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if call.done():
        return
    if error is None:
        call.set_result(result)
    else:
        call.set_exception(error)


def _retrieve(call: asyncio.Future[Any]) -> None:
    """Looks at an error that no caller waits for any more."""
    if not call.cancelled():
        call.exception()

"""One worker process, as its launcher sees it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from .member import READY, Order

_READ_BYTES: Final = 4_096


class Worker:
    """Owns a worker process, from its start to its end.

    Args:
        process: The process.
        control: This end of the connection to it.
        clock: Seconds.

    Attributes:
        ready: Whether it accepts connections.
        ended: Its exit status, as `Popen.returncode`, when there is one.
        heard_at: When it gave its latest sign of life, in seconds of the clock; at first when it was started.
    """

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, *, clock: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._control = control
        self._clock = clock
        self._started: asyncio.Future[bool] = self._loop.create_future()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self.ready = False
        self.heard_at = clock()
        control.setblocking(False)
        self._loop.add_reader(control, self._read)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def started(self) -> bool:
        """Returns whether the worker accepts connections, when that has turned out."""
        return await asyncio.shield(self._started)

    async def end(self) -> int:
        """Returns the exit status when there is one."""
        return await asyncio.shield(self.ended)

    def order(self, order: Order) -> None:
        """Sends an order, which a worker that is not ready finds when it is."""
        with suppress(OSError):  # it is about to end
            self._control.send(order.value)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self._process.kill()

    async def leave(self, order: Order, *, within_seconds: float) -> None:
        """Sends an order to end, and returns when the process has ended: in time, or killed."""
        self.order(order)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self.end()
        if not self.ended.done():
            self.kill()
            await self.end()

    def look(self) -> None:
        """Looks whether the process has ended."""
        if self.ended.done() or (status := self._process.poll()) is None:
            return
        self._loop.remove_reader(self._control)
        self._control.close()
        self.ready = False
        self.ended.set_result(status)
        if not self._started.done():
            self._started.set_result(False)

    def _read(self) -> None:
        try:
            signs = self._control.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            signs = b""
        if not signs:  # it ends, which SIGCHLD tells
            self._loop.remove_reader(self._control)
            return
        self.heard_at = self._clock()
        if READY in signs and not self.ready:
            self.ready = True
            self._started.set_result(True)

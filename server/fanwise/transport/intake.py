"""The intake: a client's messages are worked on where they come in, without a task, unless the work has to wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from ..broadcaster.sink import Heard, Received, Work
from ..core.publication import Kind
from .inbox import MESSAGE_BYTES

_WAITING: set[asyncio.Task[None]] = set()  # event loops hold tasks weakly


class Intake:
    """Owns the invariant that messages are worked on one after another, in their order.

    Reading is paused while one has to wait; what the same read has brought waits behind it.

    Args:
        work: Works on a message.
        transport: The connection's.
        failed: Called with what `work` raises; then nothing is worked on any more.
    """

    __slots__ = ("_bytes", "_ended", "_failed", "_messages", "_task", "_transport", "_work")

    def __init__(
        self,
        work: Work,
        transport: asyncio.Transport,
        *,
        failed: Callable[[Exception], None],
    ) -> None:
        self._work: Work | None = work
        self._transport = transport
        self._failed: Callable[[Exception], None] | None = failed
        self._task: asyncio.Task[None] | None = None  # of work that waits
        self._messages: deque[Received] | None = None  # behind it
        self._bytes = 0  # of those
        self._ended = False

    @property
    def size_bytes(self) -> int:
        """Bytes of the messages that wait, with what an object takes."""
        return self._bytes + MESSAGE_BYTES * len(self._messages or ())

    def put(self, kind: Kind, data: bytes) -> None:
        """Works on a message, or keeps it behind the one that waits."""
        if self._task is not None:
            self._messages = self._messages or deque()
            self._messages.append((kind, data))
            self._bytes += len(data)
        elif self._work is not None:
            try:
                waits = self._work(kind, data)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends this connection only
                self._fail(error)
                return
            if waits is not None:
                self._transport.pause_reading()
                self._task = asyncio.get_running_loop().create_task(self._go_on(waits))
                _WAITING.add(self._task)
                self._task.add_done_callback(_WAITING.discard)

    @property
    def takes_texts(self) -> bool:
        """Whether texts that come together may be put together."""
        return self._task is None and hasattr(getattr(self._work, "__self__", None), "at_once")

    def put_texts(self, texts: list[bytes]) -> bool:
        """Works on several texts at once, if `takes_texts`; returns False if they have to be put one by one."""
        try:
            return bool(self._work.__self__.at_once(texts))  # type: ignore[union-attr]
        except Exception:  # noqa: BLE001 - it is worked on none: one by one, the error is raised again where it is handled
            return False

    def end(self, code: int = 0, reason: str = "") -> None:  # noqa: ARG002 - the client knows why
        """Lets go of the application; messages that are here are still worked on."""
        self._ended = True
        if self._task is None:
            self._let_go()

    async def _go_on(self, waits: Coroutine[Any, Any, None]) -> None:
        try:
            await waits
            while self._messages and self._work is not None:
                kind, data = self._messages.popleft()
                self._bytes -= len(data)
                more = self._work(kind, data)
                if more is not None:
                    await more
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        finally:
            self._task = self._messages = None
            self._bytes = 0
            if self._ended:
                self._let_go()
            self._transport.resume_reading()

    def _let_go(self) -> None:
        """Forgets what leads back to the connection, so that it is freed at once and not by the collector."""
        self._work = self._failed = None

    def _fail(self, error: Exception) -> None:
        failed = self._failed
        self._let_go()
        if failed is not None:
            failed(error)


class OverheardIntake(Intake):
    """An intake whose messages are heard as they come, before they are worked on: one by one.

    Args:
        heard: Called for each message.
    """

    __slots__ = ("_heard",)

    takes_texts = False

    def __init__(
        self, work: Work, transport: asyncio.Transport, *, failed: Callable[[Exception], None], heard: Heard
    ) -> None:
        super().__init__(work, transport, failed=failed)
        self._heard: Heard | None = heard

    def put(self, kind: Kind, data: bytes) -> None:
        """Has a message heard, and works on it, or keeps it behind the one that waits."""
        if self._heard is not None:
            self._heard(kind, data)
        super().put(kind, data)

    def _let_go(self) -> None:
        super()._let_go()
        self._heard = None


def make_intake(
    work: Work, transport: asyncio.Transport, *, failed: Callable[[Exception], None], heard: Heard | None
) -> Intake:
    """Returns an intake; with `heard`, one whose messages are heard as they come."""
    if heard is None:
        return Intake(work, transport, failed=failed)
    return OverheardIntake(work, transport, failed=failed, heard=heard)

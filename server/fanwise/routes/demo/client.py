"""A simulated client and its messages, over all of its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ...tools.load.wire import Frame, Handshake
from .connection import Connection
from .rolling import RollingWindow
from .stream import Stamp, Stream
from .target import Target

_OPEN_SECONDS = 5.0  # a handshake that takes longer has failed


class SimulatedClient:
    """One simulated client. It reads what comes.

    Args:
        stream: The source of its messages.
        window: A count that its messages are added to; None: no count.
        now: Monotonic seconds.
        on_lost: Called when the server has ended its connection.

    Attributes:
        connected: Whether it has a connection, after the handshake.
        received: Messages, over all of its connections.
        heard_at: Time of its last message, or of its making (monotonic seconds).
        code: The close code of its last connection; 1006 for one that ended without; None before the first end.
    """

    receive_bytes: int | None = None  # SO_RCVBUF of its connections; None: the system's

    def __init__(
        self, *, stream: Stream, window: RollingWindow | None, now: float, on_lost: Callable[[SimulatedClient], None]
    ) -> None:
        self.connected = False
        self.received = 0
        self.heard_at = now
        self.code: int | None = None
        self._stream = stream
        self._window = window
        self._on_lost = on_lost
        self._connection: Connection | None = None
        self._first: int | None = None  # the first message that it should have; None before the first connection
        self._last = 0

    @property
    def missing(self) -> int:
        """The number of messages that were due since its first connection and that it has not received."""
        return 0 if self._first is None else max(self._stream.due - self._first + 1 - self.received, 0)

    async def open(self, target: Target, handshake: Handshake) -> None:
        """Connects; `connected` says whether the server took the client and the connection still stands."""
        connection = self._connection = Connection(
            handshake,
            on_open=self._opened,
            on_message=self._heard,
            on_lost=self._lost,
            receive_bytes=self.receive_bytes,
        )
        try:
            with suppress(OSError):  # TimeoutError is one
                async with asyncio.timeout(_OPEN_SECONDS):
                    await connection.open(target)
        finally:
            if not self.connected:
                connection.abort()

    def leave(self) -> None:
        """Ends its connection, also one that is being opened."""
        self.connected = False
        if self._connection is not None:
            self._connection.leave()

    def status(self, now: float) -> dict[str, Any]:
        """Returns its state: a `SimulatedInfo`."""
        return {
            "received": self.received,
            "missing": self.missing,
            "silent_seconds": round(now - self.heard_at, 3),
            "connected": self.connected,
            "code": self.code,
        }

    def _opened(self) -> None:
        self.connected = True
        if self._first is None:
            self._first = self._stream.due + 1

    def _heard(self, data: bytes, frame: Frame, now: float) -> None:
        stamp = self._stream.read(data, frame.payload, frame.stop)
        if stamp is not None:
            self._take(stamp, now)

    def _take(self, stamp: Stamp, now: float) -> None:
        if stamp.number <= self._last:
            return
        if not self.received and self._first is not None:  # messages may have come with the answer to the handshake
            self._first = min(self._first, stamp.number)
        self._last = stamp.number
        self.received += 1
        self.heard_at = now
        if self._window is not None:
            self._window.add(now, now - stamp.sent_at)

    def _lost(self, code: int) -> None:
        self.connected = False
        self.code = code
        self._on_lost(self)

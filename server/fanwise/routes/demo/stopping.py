"""The client of a side that stops reading, and may come back to a channel of Fanwise with its position."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import orjson

from ...tools.load.wire import Frame, Handshake
from .client import SimulatedClient
from .stream import Stamp, Stream
from .target import Target

RECEIVE_BYTES = 32_768


class StoppingClient(SimulatedClient):
    """The client that stops: reading, then not; in the end perhaps back.

    Args:
        stream: The source of its messages.
        channel: It speaks the JSON dialect, and is on this channel; None: it takes texts as they come.
        now: Monotonic seconds.
        on_lost: Called when the server has ended its connection.

    Attributes:
        stopped_at: When it stopped reading; None before (monotonic seconds).
        returned_at: When its connection after that was open; None before.
        retained: Messages from before its return that it got after it.
        lost: Messages of which the server has said that they will not come.
        caught_up: Whether a message from after its return has come.
        address: Its end of its latest connection, as the server has it; empty before the first.
    """

    receive_bytes = RECEIVE_BYTES

    def __init__(
        self, *, stream: Stream, channel: str | None, now: float, on_lost: Callable[[SimulatedClient], None]
    ) -> None:
        super().__init__(stream=stream, window=None, now=now, on_lost=on_lost)
        self.stopped_at: float | None = None
        self.returned_at: float | None = None
        self.retained = self.lost = 0
        self.caught_up = False
        self.address = ""
        self._channel = channel
        self._position: tuple[str, int] | None = None  # (epoch, offset)
        self._returning: asyncio.Task[None] | None = None

    def stop_reading(self) -> None:
        """Reads nothing any more, until it comes back."""
        self.stopped_at = monotonic()
        if self._connection is not None:
            self._connection.stop_reading()

    def come_back(self, target: Target, handshake: Handshake) -> None:
        """Gives its connection up, and opens another one that goes on after its last message."""
        self.leave()
        self._returning = asyncio.create_task(self.open(target, handshake), name="fanwise demo return")

    async def close(self) -> None:
        """Leaves, and returns when its way back has ended."""
        self.leave()
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.wait({self._returning})

    def status(self, now: float) -> dict[str, Any]:
        """Returns its state: a `StoppingInfo`."""
        return {
            **super().status(now),
            "stopped_seconds": None if self.stopped_at is None else round(now - self.stopped_at, 3),
            "returned": self.returned_at is not None,
            "retained": self.retained,
            "lost": self.lost,
        }

    def _opened(self) -> None:
        super()._opened()
        if self.stopped_at is not None:
            self.returned_at = monotonic()
        assert self._connection is not None  # it has just been opened
        self.address = self._connection.address
        if self._channel is not None:
            asked: dict[str, Any] = {"op": "subscribe", "channel": self._channel}
            if self._position is not None:
                epoch, offset = self._position
                asked["since"] = {"epoch": epoch, "offset": offset}
            self._connection.say(orjson.dumps(asked))

    def _heard(self, data: bytes, frame: Frame, now: float) -> None:
        if self._channel is None:
            super()._heard(data, frame, now)
            return
        message = orjson.loads(data[frame.payload : frame.stop])
        if message["op"] == "subscribed":
            self._position = message["epoch"], message["offset"]
        elif message["op"] == "gap":
            self.lost += message["to"] - message["from"] + 1
        elif message["op"] == "message" and self._position is not None:
            self._position = self._position[0], message["offset"]
            text = message["data"].encode() if isinstance(message["data"], str) else b""
            stamp = self._stream.read(text, 0, len(text))
            if stamp is not None:
                self._take(stamp, now)

    def _take(self, stamp: Stamp, now: float) -> None:
        super()._take(stamp, now)
        if self.returned_at is not None:
            self.retained += stamp.sent_at < self.returned_at
            self.caught_up = self.caught_up or stamp.sent_at >= self.returned_at

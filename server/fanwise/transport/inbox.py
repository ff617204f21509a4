"""The inbox: a client's messages that its endpoint has not read yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ..broadcaster.sink import Heard, Received
from ..core.publication import Kind

# Answering one takes 10 to 30 us. More than a publisher has in flight: what it sends in one go is swept in one go.
_IN_A_ROW = 128
MESSAGE_BYTES = 100  # of the objects of a message that waits, beside its data


class Inbox:
    """A bounded inbox, to be iterated over by one reader.

    The inbox pauses the peer at `high_messages` or `high_bytes`, and resumes the peer when empty. One read from the
    socket may overshoot.
    """

    __slots__ = (
        "_bytes",
        "_ended",
        "_high_bytes",
        "_high_messages",
        "_in_a_row",
        "_messages",
        "_on_end",
        "_pause",
        "_paused",
        "_resume",
        "_waiter",
    )

    def __init__(
        self,
        *,
        pause: Callable[[], None],
        resume: Callable[[], None],
        on_end: Callable[[int, str], None] | None = None,
        high_messages: int = 256,
        high_bytes: int = 65536,
    ) -> None:
        self._pause = pause
        self._resume = resume
        self._on_end = on_end
        self._high_messages = high_messages
        self._high_bytes = high_bytes
        self._messages: deque[Received] = deque()
        self._bytes = 0  # of the messages here
        self._paused = False
        self._ended = False
        self._in_a_row = 0  # messages read since the reader last gave the loop back
        self._waiter: asyncio.Future[None] | None = None

    def put(self, kind: Kind, data: bytes) -> None:
        """Adds a message, TEXT or BINARY; dropped when the inbox has ended."""
        if self._ended:
            return
        self._messages.append((kind, data))
        self._bytes += len(data)
        if not self._paused and (len(self._messages) >= self._high_messages or self._bytes >= self._high_bytes):
            self._paused = True
            self._pause()
        if self._waiter is not None:
            self._wake()

    def put_event(self, event: Mapping[str, Any]) -> None:
        """Adds the message of an event `websocket.receive`; `websocket.disconnect` ends the inbox (ASGI)."""
        if event["type"] == "websocket.receive":
            text, data = event.get("text"), event.get("bytes")
            self.put(*((Kind.BINARY, data or b"") if text is None else (Kind.TEXT, text.encode())))
        elif event["type"] == "websocket.disconnect":
            self.end()

    @property
    def size_bytes(self) -> int:
        """Bytes of the messages that are not read yet, with what an object takes."""
        return self._bytes + MESSAGE_BYTES * len(self._messages)

    def end(self, code: int = 1005, reason: str = "") -> None:
        """Ends the iteration after the messages that are here; `on_end` hears the code and reason. Idempotent."""
        self._ended = True
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(code, reason)
        self._wake()

    def __aiter__(self) -> Inbox:
        return self

    async def __anext__(self) -> Received:
        while not self._messages:
            if self._ended:
                raise StopAsyncIteration
            self._in_a_row = 0
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._in_a_row += 1
        if self._in_a_row >= _IN_A_ROW:  # one who sends thousands in a single packet does not keep the loop
            self._in_a_row = 0
            await asyncio.sleep(0)
        message = self._messages.popleft()
        self._bytes -= len(message[1])
        if self._paused and not self._messages:
            self._paused = False
            self._resume()
        return message

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None  # woken once, however many messages come in one read
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class OverheardInbox(Inbox):
    """An inbox whose messages are heard as they come, before they are read.

    Args:
        heard: Called for each message.
    """

    __slots__ = ("_heard",)

    def __init__(self, heard: Heard, **bounds: Any) -> None:
        super().__init__(**bounds)
        self._heard = heard

    def put(self, kind: Kind, data: bytes) -> None:
        """Has a message heard, and adds it, TEXT or BINARY; dropped when the inbox has ended."""
        if not self._ended:
            self._heard(kind, data)
        super().put(kind, data)

"""One connection to Redis, over RESP3: commands out, replies and pushes in the order of the wire."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

import hiredis

OnReply: TypeAlias = Callable[[Any], None]
"""Hears a reply; a `hiredis.ReplyError` where Redis refused, a ConnectionError where the link was lost before."""

MOST_REPLY_BYTES: Final = 67_108_864  # frames, histories and answers of other workers take a tenth of it
_pack = cast("Callable[[tuple[str | bytes | int, ...]], bytes]", hiredis.pack_command)  # whose types know one argument


class LinkError(ConnectionError):
    """A link that was lost, or that was given up."""


class Link(asyncio.Protocol):
    """Owns the order: each reply goes to the command it answers, after the pushes that came before it.

    Args:
        on_push: Hears each message of a channel that was subscribed to.
        on_lost: Hears, once, that the connection has ended.

    Attributes:
        lost: Whether it has ended.
        heard_at: When something was received, on the monotonic clock.
    """

    def __init__(self, on_push: Callable[[bytes], None], on_lost: Callable[[Link], None]) -> None:
        self.lost = False
        self.heard_at = time.monotonic()
        self._on_push = on_push
        self._on_lost = on_lost
        self._reader = hiredis.Reader()
        self._partial_bytes = 0  # received since the latest complete reply
        self._waiting: deque[OnReply] = deque()
        self._transport: asyncio.Transport | None = None
        self._paused = self._reading = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self._transport = cast("asyncio.Transport", transport)  # those of uvloop are no subclass

    def data_received(self, data: bytes) -> None:
        """Reads on, unless it is paused. Gives the connection up over a reply without an end."""
        self.heard_at = time.monotonic()
        self._partial_bytes += len(data)
        self._reader.feed(data)
        self._read()
        if self._partial_bytes > MOST_REPLY_BYTES:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        """Tells all who wait."""
        self._end()

    def abort(self) -> None:
        """Ends the connection at once. Idempotent."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def send(self, on_reply: OnReply, *command: str | bytes | int) -> None:
        """Sends a command; `on_reply` hears its reply."""
        if self.lost or self._transport is None:
            on_reply(LinkError("the link is lost"))
            return
        self._waiting.append(on_reply)
        self._transport.write(_pack(command))

    def send_unanswered(self, *command: str | bytes | int) -> None:
        """Sends a command that is answered by a push."""
        if self._transport is not None:
            self._transport.write(_pack(command))

    async def ask(self, *command: str | bytes | int) -> Any:
        """Sends a command, and returns its reply. Raises hiredis.ReplyError and LinkError."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def heard(reply: Any) -> None:
            if future.done():
                return
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        self.send(heard, *command)
        return await future

    def pause(self) -> None:
        """Reads no further from the next reply on, so that Redis keeps what follows."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on, in a later turn of the loop."""
        if self._paused and self._transport is not None:
            self._paused = False
            self.heard_at = time.monotonic()  # the silence was ours
            if not self.lost:
                self._transport.resume_reading()
                asyncio.get_running_loop().call_soon(self._read)

    @property
    def peer(self) -> tuple[str, int] | None:
        """Address and port of the other end; None for a Unix socket."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return name[:2] if isinstance(name, tuple) else None

    @property
    def paused(self) -> bool:
        """Whether it reads no further."""
        return self._paused

    def _read(self) -> None:
        if self._reading:  # a callback below has resumed it
            return
        self._reading = True
        try:
            self._read_all()
        except (hiredis.HiredisError, ValueError, KeyError, IndexError, TypeError):  # this is no Redis of ours
            self.abort()
            raise
        finally:
            self._reading = False

    def _read_all(self) -> None:
        reader, waiting = self._reader, self._waiting
        while not self._paused and not self.lost:
            reply = reader.gets()
            if reply is False:
                return
            self._partial_bytes = 0
            if type(reply) is not hiredis.PushNotification:
                waiting.popleft()(reply)
            elif reply[0] == b"message":
                self._on_push(reply[2])

    def _end(self) -> None:
        if self.lost:
            return
        self.lost = True
        while self._waiting:
            self._waiting.popleft()(LinkError("the link was lost"))
        self._on_lost(self)

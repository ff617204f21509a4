"""One connection to NATS: messages out, replies and deliveries in the order of the wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias, cast

import orjson

LINE_BYTES: Final = 65_536  # of the server's greeting, above all
NO_RESPONDERS: Final = 503
NOT_PERMITTED: Final = "Permissions Violation"


class Delivery(NamedTuple):
    """A message that the server has sent.

    Attributes:
        subject: Where it was published.
        reply: Where an answer is expected; empty for nowhere.
        status: Of a message by the server itself, as 100, 404 or 503; 0 for all others.
        headers: Without the line of the status.
        data: The payload.
    """

    subject: bytes
    reply: bytes
    status: int
    headers: bytes
    data: bytes


OnDelivery: TypeAlias = Callable[[Delivery], None]
OnReply: TypeAlias = Callable[[Delivery | Exception], None]
"""Hears a reply; a LinkError where the link was lost before."""


class LinkError(ConnectionError):
    """A link that was lost, or that was given up."""


class Link(asyncio.Protocol):
    """Owns the order: each message of the server is handled before the next one, and none while it is paused.

    Args:
        inbox: The subject under which replies come, without wildcards.
        on_lost: Hears, once, that the connection has ended.

    Attributes:
        lost: Whether it has ended.
        heard_at: When something was received, on the monotonic clock.
        error: The latest error that the server has named; empty before the first.
        info: What the server has said of itself.
    """

    def __init__(self, inbox: str, on_lost: Callable[[Link], None]) -> None:
        self.lost = False
        self.heard_at = time.monotonic()
        self.error = ""
        self.info: dict[str, Any] = {}
        self.inbox = inbox
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_lost = on_lost
        self._buffer = b""
        self._at = 0  # how much of the buffer was read
        self._replies: dict[int, OnReply] = {}
        self._number = 0
        self._subscriptions: dict[bytes, OnDelivery] = {}
        self._sids = 0
        self._pongs: list[asyncio.Future[None]] = []
        self._transport: asyncio.Transport | None = None
        self._paused = self._reading = False

    # As asyncio calls it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self._transport = cast("asyncio.Transport", transport)  # those of uvloop are no subclass

    def data_received(self, data: bytes) -> None:
        """Reads on, unless it is paused."""
        self.heard_at = time.monotonic()
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        """Tells all who wait."""
        self._end()

    # What its owner calls.

    async def secure(self, context: Any, host: str) -> None:
        """Goes on over TLS. Raises OSError."""
        assert self._transport is not None
        transport = await asyncio.get_running_loop().start_tls(self._transport, self, context, server_hostname=host)
        if transport is None:
            raise LinkError("the link was lost")
        self._transport = transport

    async def greet(self, options: dict[str, Any]) -> None:
        """Says who we are, and returns when the server has agreed. Raises LinkError; see `error`."""
        self._write(b"CONNECT %b\r\n" % orjson.dumps(options))
        await self.ping()
        self.subscribe(f"{self.inbox}.r.*", self._replied)

    async def ping(self) -> None:
        """Returns when the server has handled all that was sent before. Raises LinkError."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.lost:
            raise LinkError("the link is lost")
        self._pongs.append(future)
        self._write(b"PING\r\n")
        await future

    def abort(self) -> None:
        """Ends the connection at once. Idempotent."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def subscribe(self, subject: str, on_delivery: OnDelivery) -> bytes:
        """Has `on_delivery` hear all that is published to `subject`. Returns what `unsubscribe` takes."""
        self._sids += 1
        sid = b"%d" % self._sids
        self._subscriptions[sid] = on_delivery
        self._write(b"SUB %b %b\r\n" % (subject.encode(), sid))
        return sid

    def unsubscribe(self, sid: bytes) -> None:
        """Ends a subscription; what was sent before is dropped."""
        self._subscriptions.pop(sid, None)
        self._write(b"UNSUB %b\r\n" % sid)

    def publish(self, subject: str, data: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        """Publishes; `headers` are lines, each with its line end."""
        if headers:
            block = b"NATS/1.0\r\n%b\r\n" % headers
            sizes = b"%d %d" % (len(block), len(block) + len(data))
            self._write(b"HPUB %b %b %b\r\n%b%b\r\n" % (subject.encode(), reply.encode(), sizes, block, data))
        else:
            self._write(b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(data), data))

    def request(self, on_reply: OnReply, subject: str, data: bytes, headers: bytes = b"") -> None:
        """Publishes, and has `on_reply` hear the reply."""
        if self.lost or self._transport is None:
            on_reply(LinkError("the link is lost"))
            return
        self._number += 1
        self._replies[self._number] = on_reply
        self.publish(subject, data, reply=f"{self.inbox}.r.{self._number}", headers=headers)

    async def ask(self, subject: str, data: bytes = b"", headers: bytes = b"") -> Delivery:
        """Publishes, and returns the reply. Raises LinkError."""
        future: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()

        def heard(reply: Delivery | Exception) -> None:
            if future.done():
                return
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        self.request(heard, subject, data, headers)
        return await future

    def pause(self) -> None:
        """Reads no further from the next message on, so that the server keeps what follows."""
        if not self._paused and self._transport is not None and not self.lost:
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
    def paused(self) -> bool:
        """Whether it reads no further."""
        return self._paused

    @property
    def unsent(self) -> int:
        """Bytes that the socket has not taken."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    # Reading.

    def _read(self) -> None:
        if self._reading:  # a callback below has resumed it
            return
        self._reading = True
        try:
            while not self._paused and not self.lost and self._read_one():
                pass
        except (ValueError, KeyError, IndexError, TypeError):  # this is no server of ours
            self.abort()
            raise
        finally:
            self._reading = False

    def _read_one(self) -> bool:
        """Handles one message; False if it is not here in whole."""
        end = self._buffer.find(b"\r\n", self._at)
        if end < 0:
            if len(self._buffer) - self._at > LINE_BYTES:
                raise ValueError("a line of the server has no end")
            return False
        line = self._buffer[self._at : end]
        if not line.startswith((b"MSG ", b"HMSG ")):
            self._at = end + 2
            self._heard(line)
            return True
        operation, subject, sid, *rest = line.split(b" ")
        begin, size = end + 2, int(rest[-1])
        if len(self._buffer) < begin + size + 2:
            return False
        self._at = begin + size + 2
        on_delivery = self._subscriptions.get(sid, _drop)
        if operation == b"MSG":
            reply = rest[0] if len(rest) > 1 else b""
            on_delivery(Delivery(subject, reply, 0, b"", self._buffer[begin : begin + size]))
        else:
            reply = rest[0] if len(rest) > 2 else b""  # noqa: PLR2004 - the sizes of headers and of all
            status, headers = _status(self._buffer[begin : begin + int(rest[-2])])
            data = self._buffer[begin + int(rest[-2]) : begin + size]
            on_delivery(Delivery(subject, reply, status, headers, data))
        return True

    def _heard(self, line: bytes) -> None:
        if line == b"PING":
            self._write(b"PONG\r\n")
        elif line == b"PONG":
            future = self._pongs.pop(0)
            if not future.done():
                future.set_result(None)
        elif line.startswith(b"INFO "):
            self.info = orjson.loads(line[5:])
            if not self.greeted.done():
                self.greeted.set_result(None)
        elif line.startswith(b"-ERR"):
            self.error = line[5:].decode(errors="replace").strip("'")
            if self.error.startswith(NOT_PERMITTED):  # what was asked is not answered
                self.abort()

    def _replied(self, delivery: Delivery) -> None:
        on_reply = self._replies.pop(int(delivery.subject[len(self.inbox) + 3 :]), None)
        if on_reply is not None:
            on_reply(delivery)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    def _end(self) -> None:
        if self.lost:
            return
        self.lost = True
        error = LinkError(self.error or "the link was lost")
        for future in (self.greeted, *self._pongs):
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody may wait for it
        replies, self._replies = self._replies, {}
        for on_reply in replies.values():
            on_reply(error)
        self._on_lost(self)


def _drop(delivery: Delivery) -> None:
    """Hears what nobody has subscribed to any more."""


def _status(block: bytes) -> tuple[int, bytes]:
    """Returns the status of a block of headers, and the lines of the headers."""
    line, _, headers = block.partition(b"\r\n")
    status = line[len("NATS/1.0") :].split(maxsplit=1)
    return int(status[0]) if status else 0, headers

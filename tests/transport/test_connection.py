"""What `test_sink.py` and `test_websocket_protocol.py` do not show: the connection after its end."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fanwise.broadcaster.sink import Message
from fanwise.core.lease import Lease
from fanwise.core.reasons import CloseReason
from fanwise.transport.connection import SocketConnection, SocketProtocol
from fanwise.transport.inbox import Inbox
from fanwise.transport.leased_transport import LeasedTransport

from .test_asgi import Owner

pytestmark = pytest.mark.anyio


class Recorder:
    """A protocol and its transport in one, which record what they are asked for."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.buffered = 0

    @property
    def transport(self) -> LeasedTransport:
        return cast("LeasedTransport", self)

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def write(self, data: bytes) -> None:
        self.calls.append(data)

    def abort(self) -> None:
        self.calls.append("abort")

    def listen(self) -> Inbox:
        return Inbox(pause=lambda: None, resume=lambda: None)

    def start_close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        self.calls.append(reason)


def make_connection() -> tuple[SocketConnection, Recorder]:
    recorder = Recorder()
    return SocketConnection(cast("SocketProtocol", recorder), Lease(None)), recorder


async def test_it_is_writable_while_the_transport_is_open_and_empty() -> None:
    """A pause that nobody heard of, because it came before the first of our bytes, counts too."""
    connection, recorder = make_connection()
    seen = [connection.writable]
    connection.paused()
    seen.append(connection.writable)
    connection.resumed()
    seen.append(connection.writable)
    recorder.buffered = 1
    seen.append(connection.writable)
    recorder.buffered = 0
    connection.ended(CloseReason.NORMAL)
    seen.append(connection.writable)
    assert seen == [True, False, True, False, False]


async def test_it_sends_plain_frames() -> None:
    """For whoever uses it as any other sink."""
    connection, recorder = make_connection()
    await connection.send([Message(b"a", binary=False), Message(b"b", binary=True)])
    assert recorder.calls == [b"\x81\x01a\x82\x01b"]


async def test_after_its_end_nothing_is_done() -> None:
    """No write, no close, no abort, and the end is told once; who listens hears nothing."""
    connection, recorder = make_connection()
    owner = Owner()
    connection.attach(owner)
    connection.ended(CloseReason.LOST)
    connection.ended(CloseReason.NORMAL)
    connection.write(b"x")
    connection.abort()
    connection.ask_every(1.0)
    assert connection.unanswered_packets() is None
    await connection.close(CloseReason.SLOW, "slow", within_seconds=1)
    assert [message async for message in connection.listen()] == []
    assert recorder.calls == []
    assert owner.closed == 1


async def test_who_comes_after_the_end_is_told_at_once() -> None:
    """A connection that was lost during the handshake closes its client."""
    connection, _ = make_connection()
    connection.ended(CloseReason.LOST)
    owner = Owner()
    connection.attach(owner)
    assert owner.closed == 1

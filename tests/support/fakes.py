"""Fakes that satisfy our Protocols, written once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from fanwise.broadcaster.sink import Message, SinkOwner
from fanwise.core.lease import Lease
from fanwise.core.queue import Queue
from fanwise.core.reasons import CloseReason


class FakeMember:
    """A `group.Member` that records what a sweep calls."""

    def __init__(self, lease: Lease | None = None) -> None:
        self.lease = lease
        self.calls: list[tuple[object, ...]] = []

    def write(self, data: bytes) -> None:
        self.calls.append(("write", data))

    def fall_behind(self, queue: Queue, cursor: int, rest: memoryview) -> None:
        self.calls.append(("fall_behind", queue, cursor, bytes(rest)))

    def leave(self) -> None:
        self.calls.append(("leave",))

    def broken(self, queue: Queue, cursor: int, reason: CloseReason) -> None:
        self.calls.append(("broken", queue, cursor, reason))


class FakeSink:
    """A `sink.DirectSink` without a descriptor: it takes everything until `pause()`, and after `resume()` again."""

    def __init__(self) -> None:
        self.lease = Lease(None)
        self.owner: SinkOwner | None = None
        self.written: list[bytes] = []
        self.reasons: list[CloseReason] = []
        self.texts: list[str] = []
        self.buffered_bytes = 0
        self.received_bytes = 0
        self.taken = 0
        self.aborted = False
        self.writable = True

    def attach(self, owner: SinkOwner) -> None:
        self.owner = owner

    def write(self, data: bytes | memoryview) -> None:
        self.written.append(bytes(data))

    @property
    def frames(self) -> list[str]:
        """The payloads of the frames that were written (RFC 6455 section 5.2)."""
        data, found = b"".join(self.written), []
        while data:
            wide = max(0, data[1] - 125)  # 1: two bytes of length follow, 2: eight
            begin = 2 + (0, 2, 8)[wide]
            size = int.from_bytes(data[2:begin]) if wide else data[1]
            found.append(data[begin : begin + size].decode())
            data = data[begin + size :]
        return found

    @property
    def said(self) -> list[str]:
        """The publications that a client of either dialect has got: JSON texts. Nothing was a gap."""
        said = [json.loads(one) if one.startswith("{") else {"op": "message", "data": one} for one in self.frames]
        assert {one["op"] for one in said} <= {"subscribed", "message", "skipped"}
        return [one["data"] for one in said if one["op"] == "message"]

    async def send(self, messages: Sequence[Message]) -> None:
        raise AssertionError("a direct sink is written to")

    async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        self.reasons.append(reason)
        self.texts.append(text)
        self.end(CloseReason.NORMAL)

    def abort(self) -> None:
        self.aborted = True
        self.end(CloseReason.LOST)

    def pause(self, *, buffered_bytes: int = 1) -> None:
        self.writable = False
        self.buffered_bytes = buffered_bytes
        assert self.owner is not None
        self.owner.sink_paused()

    def resume(self) -> None:
        self.writable = True
        self.buffered_bytes = 0
        assert self.owner is not None
        self.owner.sink_resumed()

    def end(self, reason: CloseReason) -> None:
        self.writable = False
        assert self.owner is not None
        self.owner.sink_closed(reason)


class AskedFakeSink(FakeSink):
    """A `sink.AskedSink`: the peer's kernel leaves `unanswered` packets in a row without an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.unanswered: int | None = 0
        self.asked_every: list[float] = []

    def unanswered_packets(self) -> int | None:
        return self.unanswered

    def ask_every(self, seconds: float) -> None:
        self.asked_every.append(seconds)


class AwaitedSink:
    """A `sink.Sink` whose messages are handed over one by one, while its gate is open."""

    def __init__(self) -> None:
        self.owner: SinkOwner | None = None
        self.sent: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.writable = True
        self.buffered_bytes = 0

    @property
    def taken(self) -> int:
        return len(self.sent)

    def attach(self, owner: SinkOwner) -> None:
        self.owner = owner

    async def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            await self.gate.wait()
            self.sent.append(message.payload)

    async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        self.writable = False

    def abort(self) -> None:
        self.writable = False

    def end(self, reason: CloseReason) -> None:
        self.writable = False
        assert self.owner is not None
        self.owner.sink_closed(reason)

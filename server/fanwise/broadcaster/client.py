"""A client: one live connection, the queues that it reads, and how it is served while it is behind.

A client that is READY is served by sweeps. A client that is BEHIND gets slices of its queues, one per turn:

- with a direct sink the `TurnScheduler` takes the turn. Enlisted is every client that is BEHIND and whose sink is
  writable. Both can only become true in `_enter`, `start` and `sink_resumed`, and each of them enlists; `start` has a
  client that is up to date join at once. The turn runs in a later callback, when the caller has done all its changes;
- with any other sink its task takes the turn, as sending waits for the peer.

The closing handshake waits for the peer with either sink: so a client with a direct sink has a task while it is closing
and none before. Endpoint, drain and stop wait for that task.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from enum import Enum
from typing import cast

import anyio

from ..core.channel import Channel
from ..core.hub import Start
from ..core.publication import Publication
from ..core.queue import Batch, Overflow, Queue
from ..core.reasons import CloseReason
from ..core.rights import User
from ..errors import AlreadySubscribedError, GoneError
from .outbox import Outbox
from .publisher import Payload
from .sink import ClientOwner, Decoded, LateSource, Received, Source
from .subscriptions import Subscription, Subscriptions

# Payload bytes that a turn takes from a queue, so the most that waits in the sink; less where only the end shows.
CATCH_UP_BYTES, AWAITED_BYTES = 65_536, 4_096


class State(Enum):
    """States of a client. The first two alternate; the last two follow, in this order."""

    BEHIND = "behind"  # it is served in turns
    READY = "ready"  # it has everything and its sink is empty: sweeps serve it, or wake it
    CLOSING = "closing"  # its task is closing it
    CLOSED = "closed"


# As globals: CPython 3.11 makes a call of each attribute of an enum.
_BEHIND, _READY, _CLOSING, _CLOSED = State.BEHIND, State.READY, State.CLOSING, State.CLOSED
_DISCONNECT = Overflow.DISCONNECT


class Client:
    """One connection. Owns the invariant that it is in ready groups exactly while it is READY, in all or in none.

    Attributes:
        id: Unique among the clients of the process.
        address: The peer, as "host:port"; empty if unknown.
        reason: Why it was closed; None while it is open.
        user: The user that it belongs to; None: unknown.
        rtt_seconds: From the latest ping to its pong; None before the first.
        connected_at: When it came, on the monotonic clock.
        recoveries: How often it was within its bounds, or up to date, at one of its turns.
        close_text: Sent in place of its reason's text; empty for none.
        task: The task to wait for once the client is closing; None while nothing waits for the peer.
        source: Its messages; None: they are worked on elsewhere.
        lease: The right to write to its socket beside its sink; None where the sink takes no bytes.
    """

    __slots__ = (
        "_close_seconds",
        "_owner",
        "_wake",
        "address",
        "close_text",
        "connected_at",
        "id",
        "lease",
        "outbox",
        "reason",
        "recoveries",
        "rtt_seconds",
        "sink",
        "source",
        "state",
        "subscriptions",
        "task",
        "user",
        "write",
    )

    def __init__(
        self,
        client_id: str,
        address: str,
        outbox: Outbox,
        listen: Callable[[], Source] | None,
        close_seconds: float,
        owner: ClientOwner[Client],
        user: User | None = None,
    ) -> None:
        self.id = client_id
        self.address = address
        self.user = user
        self.state = _BEHIND
        self.reason: CloseReason | None = None
        self.recoveries = 0
        self.rtt_seconds: float | None = None
        self.connected_at = time.monotonic()
        self.subscriptions = Subscriptions()
        self.outbox = outbox
        self.sink = outbox.sink
        self.lease = outbox.lease
        self.task: asyncio.Task[None] | None = None
        self.source = None if listen is None else LateSource(listen)
        self._close_seconds = close_seconds
        self.close_text = ""
        self._owner = owner
        if outbox.direct is not None:
            self.write = outbox.direct.write  # for sweeps that have no descriptor (`group.Member`)
        else:
            self._wake = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Client {self.id} {self.address} {self.state.value}>"

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """The client's messages, text as str and binary as bytes, until it has left or was closed."""
        return Decoded(self.received())

    def received(self) -> AsyncIterator[Received]:
        """The client's messages as bytes with their kind: what a route publishes need not be decoded."""
        assert self.source is not None  # a client whose messages are worked on elsewhere is not iterated over
        return aiter(self.source)

    def answer(self, payload: bytes) -> None:
        """Sends a payload of the client's dialect that is no publication, in its order among the publications."""
        if self.state in (_BEHIND, _READY):
            self.outbox.send(payload)
            if self.outbox.direct is None:
                self._wake.set()

    def send(self, payload: Payload) -> None:
        """Sends a payload to this client alone: text as text, bytes as binary, and everything else as JSON. O(bytes).

        Payloads keep their order. They come before publications that the client has still to get, and behind those that
        its connection was given. What waits for its connection counts against the bounds of its queues: beyond, the
        client is closed as slow, whatever its queues do with publications, and this payload is not sent.

        Raises:
            GoneError: The client is closing or closed, perhaps by this call.
            MessageTooBigError: The payload is above `max_message_bytes`.
            PayloadError: JSON has no word for the payload.
        """
        self._owner.send(self, payload)

    def deliver(self, message: Publication, share_bytes: int) -> None:
        """Hands a message without a place to the connection of an open client: `Outbox.send_message`."""
        self.outbox.send_message(message, share_bytes)
        if self.outbox.direct is None:
            self._wake.set()

    def close(
        self, reason: CloseReason = CloseReason.NORMAL, *, text: str = "", within_seconds: float | None = None
    ) -> None:
        """Starts the closing handshake. Idempotent: the first reason wins.

        Args:
            reason: The reason that the connection's end is counted under.
            text: Sent in place of the reason's own text; at most 123 bytes.
            within_seconds: How long the handshake may take, if shorter than usual, before the connection is aborted.
        """
        if self.state in (_BEHIND, _READY):
            self.close_text = text
            if within_seconds is not None:
                self._close_seconds = min(self._close_seconds, within_seconds)
        self._end(_CLOSING, reason)

    def abort(self, reason: CloseReason) -> None:
        """Ends the connection at once, whatever is buffered. The only way that does not wait for the peer."""
        self.reason = self.reason or reason
        self.sink.abort()
        self._end(_CLOSED, reason)

    def start(self) -> None:
        """Serves the client from now on, in turns if it is behind. To be called once, when the sink is attached."""
        if self.outbox.direct is None:
            self.task = self._owner.start_task(self, self._run())
        elif self.state is _BEHIND and self.sink.writable and not self.subscriptions.behind():
            self._join()
        else:
            self._serve()

    def check_new(self, channel: str) -> None:
        """Checks that the client may be put onto the channel called `channel`.

        Raises:
            AlreadySubscribedError: The client is on that channel.
            GoneError: The client is closed, and would not be taken off the channel again.
        """
        if self.reason is not None:
            raise GoneError
        if channel in self.subscriptions:
            raise AlreadySubscribedError(channel)

    def begin(self, start: Start) -> None:
        """Takes over a new queue, and sends where its stream begins and what is missing there. O(its channels)."""
        self.leave()
        dialect, channel = self.outbox.dialect, start.channel
        if dialect.subscribed is not None:
            self.answer(dialect.subscribed(channel.name, start.position, start.recovered))
        if start.gap is not None and dialect.gap is not None:
            self.answer(dialect.gap(channel.name, channel.log.epoch, start.gap))
        self.subscriptions[channel.name] = Subscription(channel, start.queue)

    def unsubscribe(self, channel: str) -> Subscription:
        """Takes a queue away: nothing of its channel is sent any more. Raises KeyError if there is none. O(queues)."""
        self.leave()
        return self.subscriptions.pop(channel)

    @property
    def held_up(self) -> bool:
        """Whether the connection keeps the client from being served."""
        return not self.sink.writable or self.outbox.sending

    @property
    def in_flight(self) -> int:
        """Publications that were taken from a queue, and that the sink has not handed over yet. O(them)."""
        return self.outbox.in_flight

    @property
    def received_bytes(self) -> int:
        """Bytes that the connection has received and that are not read yet; 0 if unknown."""
        return cast("int", getattr(self.sink, "received_bytes", 0))  # of a `ReceivingSink`

    @property
    def lag(self) -> int:
        """Publications that the client still has to get, in its queues and in flight. O(its queues)."""
        return self.outbox.in_flight + sum(queue.qsize() for _, queue in self.subscriptions.values())

    @property
    def lag_bytes(self) -> int:
        """Bytes that the client still has to get, in its queues and in its sink. O(its queues)."""
        return self.sink.buffered_bytes + sum(queue.qsize_bytes() for _, queue in self.subscriptions.values())

    @property
    def outrun(self) -> bool:
        """Whether most clients are behind on the channels of its overflowed queues: then the producer is too fast."""
        return self.subscriptions.outrun()

    def fall_behind(self, queue: Queue, cursor: int, rest: memoryview) -> None:
        """Leaves the ready groups; the transport gets the rest of the frame that the socket has begun to take."""
        self.leave()
        queue.rewind(cursor)
        self.write(bytes(rest))  # a copy: less than a frame instead of the whole slice

    def broken(self, queue: Queue, cursor: int, reason: CloseReason) -> None:
        """Leaves the ready groups, and ends the connection without waiting for the event loop to notice."""
        self.leave()
        queue.rewind(cursor)
        self.reason = self.reason or reason
        self.sink.abort()

    # What the sink calls (`sink.SinkOwner`).

    def sink_paused(self) -> None:
        """The transport has buffered something."""
        self.leave()

    def sink_resumed(self) -> None:
        """The transport is empty."""
        self._serve()
        self.outbox.settle()

    def sink_receiving(self, *, held: bool) -> None:
        """Bytes that were received and are not read yet have become worth counting, or are so no more."""
        self._owner.receiving(self, held=held)

    def sink_ponged(self, rtt_seconds: float) -> None:
        """The peer has answered a ping."""
        self.rtt_seconds = rtt_seconds
        self._owner.ponged(rtt_seconds)

    def sink_unanswered(self, seconds: float) -> bool:
        """A ping has no answer for so long: a pause, which is forgiven where all queues skip. O(its channels)."""
        return seconds < self._owner.pause_seconds and self.subscriptions.skips()

    def sink_closed(self, reason: CloseReason) -> None:
        """The connection ended."""
        self._end(_CLOSED, reason)

    def _enter(self, state: State) -> None:
        if self.state is _READY:
            if self.lease is None:
                self.subscriptions.awake()
            else:
                self.subscriptions.leave(encoding=self.outbox.encoding, lease=self.lease)
        self.state = state
        self._serve()
        self._owner.changed(self)

    def leave(self) -> None:
        """Leaves the ready groups (`group.Member`)."""
        if self.state is _READY:
            self._enter(_BEHIND)

    def _end(self, state: State, reason: CloseReason) -> None:
        if self.state in (_CLOSED, state):
            return
        self.reason = self.reason or reason
        self._enter(state)
        if self.source is not None:
            self.source.end()
        self.outbox.end()
        if state is _CLOSING and self.outbox.direct is not None:
            self.task = self._owner.start_task(self, self._finish())

    def _join(self) -> None:
        """Enters the ready groups, or sleeps until a sweep: it has everything up to the last sweep's end."""
        if self.lease is None:
            self.subscriptions.sleep(self.leave)
        else:
            self.subscriptions.join(self, encoding=self.outbox.encoding, lease=self.lease)
        self.state = _READY
        self.recoveries += 1
        self._owner.changed(self)

    def _serve(self) -> None:
        """Enlists a client that is behind for a turn; without a direct sink, wakes the client's task instead."""
        if self.outbox.direct is None:
            self._wake.set()
        elif self.state is _BEHIND and self.sink.writable:
            self._owner.enlist(self._take_turn)

    def _take_turn(self) -> bool:
        """Writes one slice to a direct sink; True if there may be more."""
        if self.state is not _BEHIND or not self.sink.writable:
            return False
        try:
            taken = self._next(CATCH_UP_BYTES)
            if taken is not None:
                self.outbox.write(*taken)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this client and not the others' turns
            self._owner.failed(self, error)
            return False
        return taken is not None

    async def _run(self) -> None:
        """The task of a client whose sink is not direct: serves it while it is behind, and closes it in the end."""
        while self.state is not _CLOSED:
            if self.state is _CLOSING:
                return await self._finish()
            # No await between here and the wait, unless something was sent: what happens meanwhile sets `_wake`.
            if self.outbox.pending and self.sink.writable:
                self.leave()  # so that audits look at it while it takes its time
                await self.outbox.flush()
            elif self.state is _BEHIND and self.sink.writable and (taken := self._next(AWAITED_BYTES)) is not None:
                await self.outbox.send_batch(*taken)
                await asyncio.sleep(0)  # one slice a turn, so that such clients take turns too
            else:
                await self._wake.wait()
                self._wake.clear()
        return None

    def _next(self, max_bytes: int) -> tuple[Channel, Batch] | None:
        """Returns the next batch; None if the client has joined the ready groups, or is closed for what it missed."""
        taken = self.subscriptions.take(max_bytes=max_bytes)
        if taken is None:
            taken = self._owner.detour(self, max_bytes) if self._owner.detours else None
            if taken is None:
                self._join()
                return None
        place, batch = taken
        channel, queue = place
        if batch.gaps and queue.overflow is _DISCONNECT:
            queue.rewind(batch.gaps[0].first - 1)  # no gap was sent: the client still had to get all of this
            self.close(CloseReason.MEMORY if place.starved else CloseReason.SLOW)
            return None
        channel.count_batch(queue, batch)
        self.recoveries += not queue.overflowed()
        return channel, batch

    async def _finish(self) -> None:
        """Closes the sink, and aborts it if that takes too long."""
        with anyio.move_on_after(self._close_seconds) as scope:
            reason = self.reason or CloseReason.NORMAL
            await self.sink.close(reason, self.close_text or reason.text, within_seconds=self._close_seconds)
        if scope.cancelled_caught:
            self.sink.abort()
        self._end(_CLOSED, CloseReason.NORMAL)

"""A client: one live connection, the queues that it is to get, and the task that writes to it while it is behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from enum import Enum

import anyio

from ..core.channel import Channel
from ..core.hub import Start
from ..core.lease import Lease
from ..core.queue import Batch, Overflow, Queue
from ..core.reasons import CloseReason
from ..errors import AlreadySubscribedError, GoneError
from .outbox import Outbox
from .sink import Decoded, LateSource, Received, Source
from .subscriptions import Subscription, Subscriptions

# What the writer task takes from a queue at once, so the most payload that waits for it; less where only the end shows.
CATCH_UP_BYTES, AWAITED_BYTES = 65_536, 4_096


class State(Enum):
    """What a client is doing. It goes back and forth between the first two, and on to the others."""

    BEHIND = "behind"  # its writer task serves it
    READY = "ready"  # it has everything and its sink is empty: sweeps serve it, or wake it
    CLOSING = "closing"  # its writer task is closing it
    CLOSED = "closed"


class Client:
    """One connection. Owns the invariant that it is in ready groups exactly while it is READY, in all or in none.

    Attributes:
        id: Unique among the clients of the process.
        address: The peer, as "host:port"; empty where the server does not tell.
        reason: Why it was closed; None while it is open.
        rtt_seconds: From the latest ping to its pong; None before, and where nobody is pinged.
        connected_at: When it came, on the monotonic clock.
        recoveries: How often it was within its bounds, or up to date, when its writer task looked.
    """

    def __init__(
        self,
        client_id: str,
        *,
        address: str,
        outbox: Outbox,
        listen: Callable[[], Source],
        close_seconds: float,
        on_change: Callable[[Client], None],
        on_pong: Callable[[float], None],
        enlist: Callable[[Callable[[], bool]], None],
    ) -> None:
        self.id = client_id
        self.address = address
        self.state = State.BEHIND
        self.reason: CloseReason | None = None
        self.recoveries = 0
        self.rtt_seconds: float | None = None
        self.connected_at = time.monotonic()
        self.subscriptions = Subscriptions()
        self.outbox = outbox
        self.sink = outbox.sink
        self._source = LateSource(listen)
        self._close_seconds = close_seconds
        self._close_text = ""
        self._on_change = on_change
        self._on_pong = on_pong
        self._enlist = enlist  # on the rota of those who catch up
        self._failure: Exception | None = None  # what broke when it was its turn
        self._wake = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Client {self.id} {self.address} {self.state.value}>"

    # What the endpoint calls.

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """What the client sends, text as str and binary as bytes, until it has left or was closed."""
        return Decoded(aiter(self._source))

    def received(self) -> AsyncIterator[Received]:
        """What the client sends, as bytes with their kind: what a route publishes need not be decoded."""
        return aiter(self._source)

    def send(self, payload: bytes) -> None:
        """Sends a payload of the client's dialect that is no publication, in its order among the publications."""
        if self.state in (State.BEHIND, State.READY):
            self.outbox.send(payload)
            self._wake.set()

    def close(
        self, reason: CloseReason = CloseReason.NORMAL, *, text: str = "", within_seconds: float | None = None
    ) -> None:
        """Marks the client to be closed by its writer task. Idempotent: the first reason wins.

        Args:
            reason: What it is counted as, and told.
            text: What it is told instead of the reason's own text; at most 123 bytes.
            within_seconds: How long the closing handshake may take, if shorter than usual; then it is aborted.
        """
        if self.state in (State.BEHIND, State.READY):
            self._close_text = text
            if within_seconds is not None:
                self._close_seconds = min(self._close_seconds, within_seconds)
        self._end(State.CLOSING, reason)

    def abort(self, reason: CloseReason) -> None:
        """Ends the connection at once, whatever is buffered. The only way that does not wait for the peer."""
        self.reason = self.reason or reason
        self.sink.abort()
        self._end(State.CLOSED, reason)

    # What the broadcaster calls.

    def abandon(self) -> None:
        """Ends the client without its writer task, which has ended: at once if that was before its time. Idempotent."""
        if self.state is not State.CLOSED:
            self.abort(CloseReason.INTERNAL)

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
        self._leave()
        dialect, channel = self.outbox.dialect, start.channel
        if dialect.subscribed is not None:
            self.send(dialect.subscribed(channel.name, start.position, start.recovered))
        if start.gap is not None and dialect.gap is not None:
            self.send(dialect.gap(channel.name, channel.log.epoch, start.gap))
        self.subscriptions[channel.name] = Subscription(channel, start.queue)
        self._wake.set()

    def unsubscribe(self, channel: str) -> Subscription:
        """Takes a queue away: nothing of its channel is handed over any more. Raises KeyError if there is none."""
        self._leave()
        self._wake.set()
        return self.subscriptions.pop(channel)

    @property
    def lag(self) -> int:
        """Publications that it still has to get, in its queues and in its sink's hands. O(its queues)."""
        return self.outbox.in_flight + sum(queue.qsize() for _, queue in self.subscriptions.values())

    @property
    def lag_bytes(self) -> int:
        """Bytes that it still has to get, in its queues and in its sink. O(its queues)."""
        return self.sink.buffered_bytes + sum(queue.qsize_bytes() for _, queue in self.subscriptions.values())

    @property
    def overflowed(self) -> bool:
        """Whether its connection holds it up and a queue that must not overflow has. O(its queues)."""
        return self.outbox.held_up and any(
            queue.overflow is Overflow.DISCONNECT and queue.overflowed() for _, queue in self.subscriptions.values()
        )

    async def run_writer(self) -> None:
        """The writer task: serves the client while it is behind, and closes it in the end."""
        while True:
            if self.state is State.CLOSING:
                return await self._finish()
            if self.state is State.CLOSED:
                return None
            # No await between here and the wait, unless something was sent: what happens meanwhile sets `_wake`.
            if self.outbox.pending and self.sink.writable:
                self._leave()  # so that audits look at it while it takes its time
                await self.outbox.flush()
                continue
            if self._failure is not None:
                raise self._failure
            if self.state is State.BEHIND and self.sink.writable:
                if self.outbox.direct is not None:
                    self._enlist(self._take_turn)
                elif (taken := self._next(AWAITED_BYTES)) is not None:
                    await self.outbox.send_batch(*taken)
                    await asyncio.sleep(0)  # one slice a turn, so that they take turns here too
                    continue
            await self._wake.wait()
            self._wake.clear()

    # What a sweep calls (`group.Member`) while the client is READY.

    @property
    def lease(self) -> Lease | None:
        """Its right to write to its socket."""
        return self.outbox.lease

    def write(self, data: bytes) -> None:
        """Writes a slice through the transport."""
        self.outbox.write_bytes(data)

    def fall_behind(self, queue: Queue, cursor: int, rest: memoryview) -> None:
        """Leaves the ready groups; the transport gets the rest of the frame that the socket has begun to take."""
        self._leave()
        queue.rewind(cursor)
        self.outbox.write_bytes(bytes(rest))  # a copy: less than a frame instead of the whole slice

    def broken(self, queue: Queue, cursor: int, reason: CloseReason) -> None:
        """Leaves the ready groups, and ends the connection without waiting for the event loop to notice."""
        self._leave()
        queue.rewind(cursor)
        self.reason = self.reason or reason
        self.sink.abort()

    # What the sink tells (`sink.SinkOwner`).

    def sink_paused(self) -> None:
        """The transport has buffered something."""
        self._leave()

    def sink_resumed(self) -> None:
        """The transport is empty."""
        self._wake.set()
        self.outbox.settle()

    def sink_ponged(self, rtt_seconds: float) -> None:
        """The peer has answered a ping."""
        self.rtt_seconds = rtt_seconds
        self._on_pong(rtt_seconds)

    def sink_closed(self, reason: CloseReason) -> None:
        """The connection ended."""
        self._end(State.CLOSED, reason)

    # The one way to change the state, and what keeps it true.

    def _enter(self, state: State) -> None:
        if self.state is State.READY:
            if self.outbox.lease is None:
                self.subscriptions.awake()
            else:
                self.subscriptions.leave(encoding=self.outbox.encoding, lease=self.outbox.lease)
        self.state = state
        self._wake.set()
        self._on_change(self)

    def _leave(self) -> None:
        if self.state is State.READY:
            self._enter(State.BEHIND)

    def _end(self, state: State, reason: CloseReason) -> None:
        if self.state in (State.CLOSED, state):
            return
        self.reason = self.reason or reason
        self._enter(state)
        self._source.end()
        self.outbox.end()

    def _join(self) -> None:
        """Enters the ready groups, or sleeps until a sweep: it has everything up to the last sweep's end."""
        if self.outbox.lease is None:
            self.subscriptions.sleep(self._leave)
        else:
            self.subscriptions.join(self, encoding=self.outbox.encoding, lease=self.outbox.lease)
        self.state = State.READY
        self.recoveries += 1
        self._on_change(self)

    def _take_turn(self) -> bool:
        """Writes one slice, on the rota of those who catch up; True if it is to get another turn."""
        if self.state is not State.BEHIND or not self.sink.writable:
            return False
        try:
            taken = self._next(CATCH_UP_BYTES)
            if taken is not None:
                self.outbox.write(*taken)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this client's task and not the others' turns
            self._failure = error
            self._wake.set()
            return False
        return taken is not None

    def _next(self, max_bytes: int) -> tuple[Channel, Batch] | None:
        """What is to be sent next; None if it has joined the ready groups, or has to go for what it has missed."""
        taken = self.subscriptions.take(max_bytes=max_bytes)
        if taken is None:
            self._join()
            return None
        (channel, queue), batch = taken
        if batch.gaps and queue.overflow is Overflow.DISCONNECT:
            queue.rewind(batch.gaps[0].first - 1)  # it was told no gap: all of this is what it still had to get
            self.close(CloseReason.SLOW)
            return None
        channel.count_batch(queue, batch)
        self.recoveries += not queue.overflowed()
        return channel, batch

    async def _finish(self) -> None:
        with anyio.move_on_after(self._close_seconds) as scope:
            reason = self.reason or CloseReason.NORMAL
            await self.sink.close(reason, self._close_text or reason.text, within_seconds=self._close_seconds)
        if scope.cancelled_caught:
            self.sink.abort()
        self._end(State.CLOSED, CloseReason.NORMAL)

"""A recorder: what a node publishes, and what its clients that are behind take, becomes a trace (`core/trace`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ..core.channel import Channel
from ..core.counters import name_of
from ..core.hub import Start
from ..core.publication import Publication
from ..core.trace import (
    Audited,
    CaughtUp,
    ChannelSeen,
    Closed,
    Connected,
    Ended,
    FellBehind,
    Header,
    Sample,
    Subscribed,
    TraceEncoder,
    Unsubscribed,
    key_number,
)
from ..version import SERVER_VERSION
from .client import Client, State
from .dropped import DROPPED, REMEMBERED

# What waits for the reader of a trace, at most: a second of 100,000 publications, or of 15,000 clients that are behind.
PENDING_BYTES = 1_048_576
_CHANNELS = 100_000  # whose numbers are kept; after that all get new ones
_BEHIND, _READY = State.BEHIND, State.READY  # as globals: CPython 3.11 makes a call of each attribute of an enum


class Recorder:
    """Records one trace. Owns the invariant that a trace names what it has introduced, and that its memory is bounded.

    A reader that does not keep up ends the trace: nothing that was recorded is left out, and nobody waits.

    Args:
        settings: Those in force.
        most_bytes: After so many the trace ends.
        on_end: Called when nothing is to be recorded any more.
        clock: Seconds, on the clock of publications' times.

    Attributes:
        end_reason: Why the trace has ended; empty while it goes on.
    """

    def __init__(
        self,
        settings: dict[str, int | float | str | None],
        *,
        most_bytes: int,
        on_end: Callable[[Recorder], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._began = clock()
        self._encoder = TraceEncoder(Header(SERVER_VERSION, time.time(), settings), on_block=self._check)
        self._most_bytes = most_bytes
        self._on_end = on_end
        self._read_bytes = 0
        self.end_reason = ""
        self._whole = False
        self._news = asyncio.Event()
        self._channels: dict[str, int] = {}  # {epoch of a log: the channel's number}
        self._last_channel = 0
        self._clients: dict[Client, int] = {}  # {client that has not gone: its number}
        self._last_client = 0
        self._dropped: dict[str, int] = {}  # {id of a client that was dropped lately: its number}
        self._behind: set[Client] = set()

    # What the node calls.

    def published(self, channel: Channel, publication: Publication) -> None:
        """Records a publication. O(1)."""
        number = self._channels.get(publication.epoch) or self._introduce_channel(channel, publication.offset - 1)
        key = publication.key
        self._encoder.published(
            publication.time - self._began, number, len(publication.payload), 0 if key is None else key_number(key)
        )

    def subscribed(self, client: Client, start: Start, before: str) -> None:
        """Records that a client has come onto a channel; `before` is the id of the dropped client that it was."""
        number = self._clients.get(client) or self._introduce_client(client, self._dropped.pop(before, 0))
        gap = start.gap
        missing = 0 if gap is None else max(0, gap.last - gap.first + 1)
        channel = self._channel(start.channel)
        resumed = start.recovered is not None
        self._encoder.add(Subscribed(self._now(), number, channel, resumed, start.queue.qsize(), missing))

    def unsubscribed(self, client: Client, channel: Channel) -> None:
        """Records that a client has left a channel, if the trace knows the client."""
        number = self._clients.get(client)
        if number is not None:
            self._encoder.add(Unsubscribed(self._now(), number, self._channel(channel)))

    def changed(self, client: Client) -> None:
        """Records that a client's state has changed, before its queues are let go of. O(1), or O(its queues)."""
        state = client.state
        if state is _READY:
            if client in self._behind:
                self._behind.discard(client)
                self._encoder.add(CaughtUp(self._now(), self._clients[client]))
        elif state is not _BEHIND:
            self._closed(client)
        elif client.outbox.direct is not None:  # all others are awake, and behind, for each publication
            self._fell_behind(client)

    def audited(self, now: float) -> None:
        """Records that an audit begins, and lets the reader have what there is."""
        self._encoder.add(Audited(now - self._began))
        self._check()
        self._news.set()

    def sample(self, client: Client, now: float) -> None:
        """Records how far behind a client is, on each channel where it is. O(its queues)."""
        at = now - self._began
        self._fell_behind(client)
        number = self._clients[client]
        held_up, buffered_bytes = client.held_up, client.sink.buffered_bytes
        look = getattr(client.sink, "kernel_bytes", None)
        kernel_bytes = -1 if look is None else look()
        for channel, queue in client.subscriptions.values():
            lag = queue.qsize()
            if lag or (buffered_bytes and len(client.subscriptions) == 1):
                held = held_up, lag, queue.qsize_bytes(), buffered_bytes, kernel_bytes
                self._encoder.add(Sample(at, number, self._channel(channel), *held))

    def end(self, reason: str) -> None:
        """Ends the trace; its reader gets what is there. Idempotent."""
        if not self.end_reason:
            self.end_reason = reason
            self._on_end(self)
            self._news.set()

    # What its reader calls.

    async def read(self) -> bytes:
        """Returns the next bytes of the trace, four times a second; empty bytes at its end."""
        await self._news.wait()
        if not self.end_reason:
            self._news.clear()
        elif not self._whole:
            self._whole = True
            self._encoder.add(Ended(self._now(), self.end_reason))
        data = self._encoder.take()
        self._read_bytes += len(data)
        return data

    def _now(self) -> float:
        return self._clock() - self._began

    def _check(self) -> None:
        """Ends the trace when it has all its bytes, or when its reader has left too many."""
        if self.end_reason:
            return
        pending_bytes = self._encoder.pending_bytes
        if pending_bytes > PENDING_BYTES:
            self.end("slow")
        elif self._read_bytes + pending_bytes > self._most_bytes:
            self.end("bytes")

    def _channel(self, channel: Channel) -> int:
        return self._channels.get(channel.log.epoch) or self._introduce_channel(channel, channel.log.head)

    def _introduce_channel(self, channel: Channel, head: int) -> int:
        if len(self._channels) >= _CHANNELS:  # most are gone by now
            self._channels.clear()
        self._last_channel = number = self._channels[channel.log.epoch] = self._last_channel + 1
        self._encoder.add(ChannelSeen(self._now(), number, channel.name, head, len(channel.queues)))
        return number

    def _introduce_client(self, client: Client, before: int = 0) -> int:
        self._last_client = number = self._clients[client] = self._last_client + 1
        here = client.connected_at < self._began
        self._encoder.add(Connected(self._now(), number, here, before, client.outbox.path, client.outbox.dialect.name))
        for channel, queue in client.subscriptions.values():
            self._encoder.add(Subscribed(self._now(), number, self._channel(channel), False, queue.qsize(), 0))
        return number

    def _fell_behind(self, client: Client) -> None:
        if client not in self._behind:
            number = self._clients.get(client) or self._introduce_client(client)
            self._behind.add(client)
            self._encoder.add(FellBehind(self._now(), number))

    def _closed(self, client: Client) -> None:
        self._behind.discard(client)
        number = self._clients.pop(client, None)
        if number is not None:
            reason = name_of(client.reason) if client.reason is not None else ""
            if client.reason in DROPPED:
                self._dropped[client.id] = number
                if len(self._dropped) > REMEMBERED:
                    del self._dropped[next(iter(self._dropped))]
            self._encoder.add(Closed(self._now(), number, reason, client.lag, client.lag_bytes))

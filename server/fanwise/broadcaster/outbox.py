"""The outbox: how a client's bytes get to its sink, in its dialect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import anyio

from ..core.channel import Channel
from ..core.dialect import Dialect
from ..core.publication import Encoding, Kind, Publication
from ..core.queue import Batch, Gap
from .sink import DirectSink, Message, Sink, lease_of

# What a client may leave unread of what it asked for, before nothing more is read from it.
UNREAD_BYTES = 65_536


class _InFlight(NamedTuple):
    """The parts of the batch that is being sent, and the number of messages that the sink had taken before."""

    parts: Sequence[Publication | Gap]
    taken_before: int


_NOTHING: Final = _InFlight((), 0)


class Outbox:
    """Owns the order of a client's bytes: answers come before the publications that are handed over after them.

    A direct sink takes everything at once. For other sinks answers wait here, and the client's task sends them.

    Attributes:
        lease: The right to write to the socket beside the sink; None where that takes no bytes.
        direct: The sink, if it takes bytes synchronously.
    """

    __slots__ = (
        "_answer_bytes",
        "_answers",
        "_in_flight",
        "_sending",
        "_settled",
        "dialect",
        "direct",
        "lease",
        "sink",
    )

    def __init__(self, sink: Sink, dialect: Dialect) -> None:
        self.sink = sink
        self.dialect = dialect
        self.lease = lease = lease_of(sink)
        self.direct: DirectSink | None = None if lease is None else sink  # type: ignore[assignment]  # it has a lease
        self._answers: list[Message] | None = [] if lease is None else None
        self._answer_bytes = 0
        self._sending: anyio.CancelScope | None = None
        self._in_flight = _NOTHING
        self._settled: asyncio.Event | None = None  # while somebody waits for it

    @property
    def encoding(self) -> Encoding:
        """The encoding of this client's sweeps."""
        return self.dialect.encode

    @property
    def path(self) -> str:
        """The way to the peer: "direct" to its socket, through the "transport", or over plain "asgi"."""
        if self.lease is None:
            return "asgi"
        return "transport" if self.lease.descriptor is None else "direct"

    @property
    def sending(self) -> bool:
        """Whether a sink that is not direct has not taken everything that it was given."""
        return self._sending is not None

    @property
    def in_flight(self) -> int:
        """Publications that were taken from a queue, and that the sink has not handed over yet. O(them)."""
        left = self._in_flight.parts[self.sink.taken - self._in_flight.taken_before :]
        return sum(isinstance(part, Publication) for part in left)

    @property
    def pending(self) -> bool:
        """Whether an answer waits for the client's task."""
        return bool(self._answers)

    def send(self, payload: bytes) -> None:
        """Sends a payload of the dialect that is no publication, before everything that is handed over later."""
        if self.direct is not None:
            self.direct.write(self.dialect.frame(payload))
        else:
            assert self._answers is not None
            self._answers.append(Message(payload, binary=False))
            self._answer_bytes += len(payload)

    def send_message(self, message: Publication, share_bytes: int) -> None:
        """Sends a message without a place in its order among the answers.

        Each message that waits counts as `share_bytes` beside its own bytes, so that small ones are bounded too.
        """
        dialect = self.dialect
        if self.direct is not None:
            alone = dialect.alone
            self.direct.write(
                message.encoded(dialect.encode) if alone is None else dialect.frame(message.encoded(alone))
            )
            if self.sink.buffered_bytes:  # until that is taken: `settle`
                self._answer_bytes += share_bytes
        else:
            assert self._answers is not None
            payload = message.encoded(dialect.alone or dialect.payload)
            self._answers.append(Message(payload, binary=dialect.alone is None and message.kind is Kind.BINARY))
            self._answer_bytes += len(payload) + share_bytes

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait in user space for the peer, and what counts for the messages among them."""
        return self._answer_bytes + self.sink.buffered_bytes

    async def flush(self) -> None:
        """Sends the answers that wait."""
        answers = self._answers or []
        self._answers = []
        self._answer_bytes = 0
        await self._send(answers)
        self.settle()

    async def settled(self) -> None:
        """Waits while the client leaves its answers unread: a client that does not read may not go on asking."""
        if self.clogged:
            self._settled = self._settled or asyncio.Event()
            await self._settled.wait()

    def settle(self) -> None:
        """Hears that the sink has taken something: everything, if it is direct."""
        if self.direct is not None:
            self._answer_bytes = 0
        if self._settled is not None and not self.clogged:
            self._wake()

    def write(self, channel: Channel, batch: Batch) -> None:
        """Gives a batch to a direct sink, with its gaps where they belong if the dialect has a word for them."""
        assert self.direct is not None
        data = b"".join([self._wire(channel, part) for part in self._parts(batch)])
        if data:
            self.direct.write(data)
        _count(channel, batch.publications, sent_bytes=len(data))

    async def send_batch(self, channel: Channel, batch: Batch) -> None:
        """Gives a batch, with its gaps where they belong, to a sink that is not direct; waits for the peer."""
        parts = list(self._parts(batch))
        messages = [self._message(channel, part) for part in parts]
        self._in_flight = _InFlight(parts, taken_before=self.sink.taken)
        await self._send(messages)
        taken = self.sink.taken - self._in_flight.taken_before
        self._in_flight = _NOTHING
        given = [part for part in parts[:taken] if isinstance(part, Publication)]
        _count(channel, given, sent_bytes=sum(len(message.payload) for message in messages[:taken]))

    def _parts(self, batch: Batch) -> Iterable[Publication | Gap]:
        if not batch.gaps or self.dialect.gap is None:
            return batch.publications
        return sorted([*batch.gaps, *batch.publications], key=_offset)

    def end(self) -> None:
        """Gives up whatever waits for the peer."""
        self._wake()
        if self._sending is not None:
            self._sending.cancel()

    def _wake(self) -> None:
        settled, self._settled = self._settled, None
        if settled is not None:
            settled.set()

    @property
    def clogged(self) -> bool:
        """Whether the client leaves more than `UNREAD_BYTES` of its answers unread."""
        return self._answer_bytes + self.sink.buffered_bytes > UNREAD_BYTES  # `waiting_bytes`, without its call

    async def _send(self, messages: list[Message]) -> None:
        with anyio.CancelScope() as self._sending:
            await self.sink.send(messages)
        self._sending = None

    def _wire(self, channel: Channel, part: Publication | Gap) -> bytes:
        if isinstance(part, Publication):
            return part.encoded(self.dialect.encode)
        return self.dialect.frame(self._gap(channel, part))

    def _message(self, channel: Channel, part: Publication | Gap) -> Message:
        if isinstance(part, Publication):
            return Message(part.encoded(self.dialect.payload), binary=part.kind is Kind.BINARY)
        return Message(self._gap(channel, part), binary=False)

    def _gap(self, channel: Channel, gap: Gap) -> bytes:
        assert self.dialect.gap is not None
        return self.dialect.gap(channel.name, channel.log.epoch, gap)


def _count(channel: Channel, given: Sequence[Publication], *, sent_bytes: int) -> None:
    channel.count(len(given), sent_bytes=sent_bytes)
    if given:
        channel.tally.catching_up_age.observe(time.monotonic() - given[0].time, len(given))


def _offset(part: Publication | Gap) -> int:
    return part.first if isinstance(part, Gap) else part.offset

"""A simulated socket and its transport: a kernel's room that a reader empties, and what is buffered in front of it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

from ..broadcaster.sink import Message, SinkOwner
from ..core.lease import Lease
from ..core.publication import Publication
from ..core.reasons import CloseReason
from .clockwork import VirtualLoop
from .scene import FIRST_STEP_SHARE, FIRST_STEPS, STEP_SHARE, Reader

_PART_BYTES = 0.5  # less than that is nothing: a rounding error


class VirtualSocket:
    """A `DirectSink` without a socket. Owns the invariant that written, buffered, in the kernel and read bytes tile.

    Args:
        descriptor: Its number among the sockets of the replay.
        reader: Who empties it.
        loop: The virtual clock.
        got: Called with (when, time of the publication) of each publication that the reader has read to its end.

    Attributes:
        positions: {channel: offset of the latest publication that the reader has read to its end}.
        buffered: Bytes that the transport holds.
        aborted: Whether the connection was aborted.
    """

    def __init__(
        self, descriptor: int, reader: Reader, loop: VirtualLoop, *, got: Callable[[float, float], None]
    ) -> None:
        self.lease = Lease(descriptor)
        self.taken = 0
        self.buffered = 0.0
        self.aborted = False
        self._reader = reader
        self._loop = loop
        self._got = got
        self._owner: SinkOwner | None = None
        self._paused = False
        self._refill_bytes = max(reader.room_bytes, reader.refill_bytes)
        self._room_bytes = reader.room_bytes  # from empty to full; then there is room for a refill
        self._steps = 0  # how often it has said that it has room again
        self._entered = 0.0  # bytes that ever came into the kernel
        self._given = 0.0  # bytes that were ever written: the end of the latest
        self._level = 0.0  # in the kernel, at `_seen`
        self._seen = loop.time()
        self._unread: deque[tuple[float, Publication]] = deque()  # (end in the stream, publication)
        self.positions: dict[str, int] = {}

    # The sink.

    def attach(self, owner: SinkOwner) -> None:
        """Notifies `owner` from now on."""
        self._owner = owner

    @property
    def writable(self) -> bool:
        """Whether the connection is open and nothing is buffered."""
        return not self.aborted and not self._paused

    @property
    def buffered_bytes(self) -> int:
        """Bytes that the transport holds."""
        return math.ceil(self.buffered)

    def write(self, data: bytes | memoryview) -> None:
        """Writes what fits, and buffers the rest."""
        if self.aborted or not data:
            return
        self._given += len(data)
        self.buffered += len(data)
        if not self._paused:
            self._pump()
            if self.buffered:
                self._paused = True
                if self._owner is not None:
                    self._owner.sink_paused()
                self._wait()

    def abort(self) -> None:
        """Ends the connection: what is buffered is lost, what is in the kernel can be read."""
        self.aborted = True
        self.lease.ended = True
        self.buffered = 0.0

    def unanswered_packets(self) -> int | None:
        """Returns 0: the peer's kernel answers, also while its reader pauses."""
        return 0

    def ask_every(self, seconds: float) -> None:
        """Has nothing to do: the answer is known."""

    def no_longer_heard(self) -> None:
        """Notifies nobody any more: the client is closing."""
        self._owner = None

    async def send(self, messages: Sequence[Message]) -> None:
        """Is not called: the sink is direct."""
        raise NotImplementedError

    async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        """Is not called: the replay models the closing handshake."""
        raise NotImplementedError

    # The sweeps' system call.

    def would_take(self, size: int) -> int:
        """Returns how many of `size` bytes fit now."""
        self.read()
        fits = self._room_bytes - self._level
        return 0 if self.aborted else size if size <= fits else max(int(fits), 0)

    def take(self, size: int) -> None:
        """Takes `size` bytes, which fit."""
        self._level += size
        self._entered += size
        self._given += size

    def note(self, publication: Publication, *, end: int) -> None:
        """Notes that a publication ends `end` bytes behind what has been written so far."""
        self._unread.append((self._given + end, publication))

    # The reader.

    @property
    def waiting_bytes(self) -> float:
        """Bytes that the reader has not read, in the kernel and in the transport."""
        self.read()
        return self._level + self.buffered

    def empty_at(self) -> float:
        """Returns when the reader has read all of what is here; infinite if never."""
        supply = self._reader.supply
        return supply.when(supply.total(self._loop.time()) + self.waiting_bytes - _PART_BYTES)

    def read(self) -> None:
        """Lets the reader read up to now."""
        now = self._loop.time()
        if now <= self._seen:
            return
        supply = self._reader.supply
        before = supply.total(self._seen)
        read = min(self._level, supply.total(now) - before)
        if read > 0:
            done = self._entered - self._level  # the place in the stream that was read up to before
            self._level -= read
            reached = done + read + _PART_BYTES
            while self._unread and self._unread[0][0] <= reached:
                end, publication = self._unread.popleft()
                self.positions[publication.channel] = publication.offset
                self._got(min(max(supply.when(before + end - done), self._seen), now), publication.time)
        if self._level < _PART_BYTES:
            self._room_bytes = self._reader.room_bytes
        self._seen = now

    @property
    def given_bytes(self) -> float:
        """Bytes that were ever written."""
        return self._given

    @property
    def read_bytes(self) -> float:
        """Bytes that the reader has read."""
        self.read()
        return self._entered - self._level + _PART_BYTES

    def _pump(self) -> None:
        """Moves what fits from the transport into the kernel."""
        self.read()
        moved = min(self.buffered, max(self._room_bytes - self._level, 0.0))
        self.buffered -= moved
        if self.buffered < _PART_BYTES:
            moved, self.buffered = moved + self.buffered, 0.0
        self._level += moved
        self._entered += moved

    def _wait(self) -> None:
        """Has the rest written when the kernel says that it has room again."""
        supply = self._reader.supply
        step_bytes = self._refill_bytes * (FIRST_STEP_SHARE if self._steps < FIRST_STEPS else STEP_SHARE)
        excess = min(step_bytes, self._level)
        when = supply.when(supply.total(self._loop.time()) + excess)
        self._loop.call_at(next((end for begin, end in self._reader.shut if begin <= when < end), when), self._room)

    def _room(self) -> None:
        if self.aborted:
            return
        self._steps += 1
        self._room_bytes = self._refill_bytes
        self._pump()
        if self.buffered:
            self._wait()
            return
        self._paused = False
        if self._owner is not None:
            self._owner.sink_resumed()

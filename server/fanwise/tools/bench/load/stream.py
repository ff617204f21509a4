"""The bytes that a channel's clients are about to get: checked message by message once, then compared as a whole.

All clients of a channel get equal bytes. The first client to receive new bytes parses them and checks each message; the
stream keeps the checked bytes. One comparison of memory per `recv` then proves order, completeness and content for
every other client.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from heapq import heappop, heappush
from operator import itemgetter
from typing import Protocol

from .payload import Payloads

KEPT_BYTES = 4 << 20  # behind the newest; a client further behind is parsed message by message
KEPT_MESSAGES = 1 << 17
_SHIFTS = 1024
RESTART_MESSAGES = 256  # a hole that is still open after so many messages stays open


class Progress:
    """The least of many sequence numbers that only grow. Moving costs O(log of the distinct ones) at most."""

    def __init__(self) -> None:
        self._clients: dict[int, int] = {}  # {next sequence: clients that wait for it}
        self._heap: list[int] = []  # [next sequence], each that is in the dict and some that were

    def join(self, sequence: int) -> None:
        """A client waits for `sequence`."""
        self._enter(sequence, 1)

    def leave(self, sequence: int) -> None:
        """A client that waited for `sequence` does not any more."""
        self._exit(sequence, 1)

    def move(self, old: int, new: int, clients: int = 1) -> None:
        """Moves so many clients from `old` to `new`."""
        self._exit(old, clients)
        self._enter(new, clients)

    @property
    def lowest(self) -> int | None:
        """The sequence that the last client waits for; None without clients."""
        while self._heap and self._heap[0] not in self._clients:
            heappop(self._heap)
        return self._heap[0] if self._heap else None

    def _enter(self, sequence: int, clients: int) -> None:
        if sequence in self._clients:
            self._clients[sequence] += clients
        else:
            self._clients[sequence] = clients
            heappush(self._heap, sequence)

    def _exit(self, sequence: int, clients: int) -> None:
        left = self._clients[sequence] - clients
        if left:
            self._clients[sequence] = left
        else:
            del self._clients[sequence]


class Member(Protocol):
    """A client whose position in the stream has to stay within what is kept."""

    position: int

    def leave_stream(self) -> None:
        """Keeps its part of an unfinished frame; called before the stream forgets that part."""


class Stream:
    """The checked bytes of one channel. Positions are absolute byte offsets, sequences are those of the messages.

    Args:
        offset_in: Returns the server's offset of the message in a frame. Without it no client can resume.
    """

    def __init__(
        self, payloads: Payloads, *, offset_in: Callable[[bytes | bytearray], int | None] | None = None
    ) -> None:
        self.payloads = payloads
        self._offset_in = offset_in
        self._shifts: list[tuple[int, int]] = []  # [(sequence, the server's offset - sequence, from there on)]
        self.members: set[Member] = set()
        self.data = bytearray()
        self.base = 0  # position of data[0], always the start of the frame of `_first`
        self._first = 1  # sequence of the first frame kept
        self.ends: list[int] = []  # [position], by frame
        self.sent_ns: list[int] = []  # [monotonic ns], by frame
        self.runs: list[int] = []  # [first sequence of the run of messages sent at one moment], by frame

    @property
    def end(self) -> int:
        """The position behind the last frame."""
        return self.base + len(self.data)

    @property
    def next_sequence(self) -> int:
        """The sequence that the next frame has to have."""
        return self._first + len(self.ends)

    def sequence_at(self, position: int) -> int:
        """The first message that is not complete at `position`. O(log frames)."""
        return self._first + bisect_right(self.ends, position)

    def start_of(self, sequence: int) -> int | None:
        """Returns the position at which the frame of `sequence` begins or will begin; None if unknown."""
        index = sequence - self._first
        if not 0 <= index <= len(self.ends):
            return None
        return self.ends[index - 1] if index else self.base

    def bursts(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Returns [(sent_ns, messages)] of the messages `first` to `stop - 1`, grouped by the moment of sending."""
        found = []
        while stop > first:
            index = stop - 1 - self._first
            start = max(self.runs[index], first)
            found.append((self.sent_ns[index], stop - start))
            stop = start
        return found

    def offset_of(self, sequence: int) -> int | None:
        """Returns the server's offset of a message; None if unknown. Others may publish to the channel as well."""
        index = bisect_right(self._shifts, sequence, key=itemgetter(0)) - 1
        return sequence + self._shifts[index][1] if index >= 0 else None

    def offer(self, sequence: int, sent_ns: int, frame: bytes | bytearray) -> None:
        """Takes a checked frame if it is the next one. A lasting hole of many messages starts the stream anew."""
        wanted = self.next_sequence
        if sequence > wanted and (not self.ends or sequence > wanted + RESTART_MESSAGES):
            self._forget(len(self.ends))
            self._first = sequence
        elif sequence != wanted:
            return
        if self._offset_in is not None:
            self._note_offset(sequence, self._offset_in(frame))
        same = self.sent_ns and self.sent_ns[-1] == sent_ns
        self.runs.append(self.runs[-1] if same else sequence)
        self.data += frame
        self.ends.append(self.end)
        self.sent_ns.append(sent_ns)

    def trim(self) -> None:
        """Forgets the oldest frames when twice as much is kept as has to be. O(members), rarely."""
        if len(self.data) > 2 * KEPT_BYTES or len(self.ends) > 2 * KEPT_MESSAGES:
            by_bytes = bisect_right(self.ends, self.end - KEPT_BYTES)
            self._forget(min(max(by_bytes, len(self.ends) - KEPT_MESSAGES), len(self.ends)))

    def _note_offset(self, sequence: int, offset: int | None) -> None:
        if offset is not None and (not self._shifts or self._shifts[-1][1] != offset - sequence):
            self._shifts = [*self._shifts[1 - _SHIFTS :], (sequence, offset - sequence)]

    def _forget(self, frames: int) -> None:
        everything = frames == len(self.ends)
        base = self.end if everything else self.start_of(self._first + frames) or 0
        for member in self.members:
            if 0 <= member.position < base or everything:
                member.leave_stream()
        del self.data[: base - self.base]
        for kept in (self.ends, self.sent_ns, self.runs):
            del kept[:frames]
        self.base = base
        self._first += frames

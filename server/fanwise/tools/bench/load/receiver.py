"""One client of the load generator, without I/O: the messages that it received, against those that it should have."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...load.histogram import Histogram
from ...load.wire import BINARY, CONTINUATION, TEXT, next_frame
from .stream import Progress, Stream

MAX_FRAME_BYTES = 64 << 20  # larger than any message that can be asked for
_HOLES = 64  # holes that a client remembers: a message that fills one is late, any other old one is a repetition


class Tally:
    """Counts of the measured messages, for the clients of one kind."""

    def __init__(self) -> None:
        self.deliveries = 0
        self.lost = 0
        self.duplicates = 0
        self.reordered = 0
        self.corrupt = 0
        self.gaps_told = 0  # messages that the server said it skipped; they count as lost too
        self.returned = 0  # times that a client came back after a drop, and resumed
        self.recovered = 0  # of them, those without a gap
        self.last_ns = 0  # when the last delivery came
        self.latency = Histogram()  # taken out and replaced from time to time: see `Snapshot`


class Lane:
    """The clients of one kind on one channel: they share a stream, a tally, and (if they are waited for) a progress.

    Args:
        measured_from: The first sequence that counts; the ones before it are warm-up.
    """

    def __init__(self, stream: Stream, tally: Tally, *, progress: Progress | None, measured_from: int) -> None:
        self.stream = stream
        self.tally = tally
        self.progress = progress
        self.measured_from = measured_from

    def account(self, start: int, end: int, times_ns: list[int]) -> None:
        """Clients went from position `start` to `end`, one at each of `times_ns` (ascending)."""
        stream, clients = self.stream, len(times_ns)
        first, stop = stream.sequence_at(start), stream.sequence_at(end)
        if first == stop:
            return
        if self.progress is not None:
            self.progress.move(first, stop, clients)
        first = max(first, self.measured_from)
        if first >= stop:
            return
        self.tally.deliveries += (stop - first) * clients
        self.tally.last_ns = times_ns[-1]
        for sent_ns, messages in stream.bursts(first, stop):
            self.tally.latency.add_ascending(times_ns, sent_ns, messages)


class Control(NamedTuple):
    """A frame that carries no message of ours: (opcode, payload)."""

    opcode: int
    payload: bytes


class Receiver:
    """One connection's place in its channel.

    While `position` is not negative, the client has received exactly the stream up to there. `feed` parses all other
    bytes (new messages, foreign ones, a ping, a hole), and puts the client back on the stream.

    Args:
        expected: The sequence that a client waits for which resumes; 0 for one that begins anywhere.
    """

    __slots__ = ("_carry", "_expected", "_fragments", "_holes", "lane", "position", "recv_into", "stream")

    def __init__(self, lane: Lane, recv_into: Callable[[bytearray | memoryview], int], *, expected: int = 0) -> None:
        self.lane = lane
        self.stream = lane.stream
        self.recv_into = recv_into
        self.position = -1
        self._expected = expected  # sequence of the next message; 0 before the first
        self._carry = bytearray()  # an unfinished frame
        self._fragments = bytearray()  # an unfinished message of several frames
        self._holes: list[tuple[int, int]] = []  # [(first, stop)] of the sequences that were missing
        self.stream.members.add(self)

    @property
    def expected(self) -> int:
        """The sequence of the next message; 0 before the first one."""
        return self._expected if self.position < 0 else self.stream.sequence_at(self.position)

    def close(self) -> None:
        """Ends the client: leaves stream and progress."""
        if self.expected and self.lane.progress is not None:
            self.lane.progress.leave(self.expected)
        self.position, self._expected = -1, 0
        self.stream.members.discard(self)

    def leave_stream(self) -> None:
        """Takes the client off the stream, with its part of an unfinished frame; `feed` then parses for it."""
        if self.position < 0:
            return
        self._expected = self.stream.sequence_at(self.position)
        start = self.stream.start_of(self._expected)
        if start is None:
            raise AssertionError(f"the stream has forgotten position {self.position} while a client was there")
        base = self.stream.base
        self._carry[:] = self.stream.data[start - base : self.position - base]
        self.position = -1

    def feed(self, chunk: bytes | bytearray | memoryview, now_ns: int) -> list[Control]:
        """Takes received bytes, message by message; returns the frames without a message of ours.

        Raises:
            ProtocolViolation: The server broke RFC 6455.
        """
        self.leave_stream()
        before, carry, offset = self._expected, self._carry, 0
        carry += chunk
        controls: list[Control] = []
        while frame := next_frame(carry, offset, MAX_FRAME_BYTES):
            if frame.opcode in (TEXT, BINARY) and frame.final:
                if not self._message(carry, frame.payload, frame.stop, now_ns, offset):
                    controls.append(Control(frame.opcode, bytes(carry[frame.payload : frame.stop])))
            elif frame.opcode in (TEXT, BINARY, CONTINUATION):
                self._fragments += carry[frame.payload : frame.stop]
                if frame.final:
                    self._assembled(now_ns, controls)
            else:
                controls.append(Control(frame.opcode, bytes(carry[frame.payload : frame.stop])))
            offset = frame.stop
        del carry[:offset]
        self._moved(before)
        self._enter_stream()
        return controls

    def _moved(self, before: int) -> None:
        progress = self.lane.progress
        if progress is None or self._expected == before:
            return
        if before:
            progress.move(before, self._expected)
        else:
            progress.join(self._expected)

    def _enter_stream(self) -> None:
        start = self.stream.start_of(self._expected) if self._expected else None
        if start is None or self._fragments:
            return
        if self.stream.data.startswith(self._carry, start - self.stream.base):
            self.position = start + len(self._carry)
            self._carry.clear()

    def _assembled(self, now_ns: int, controls: list[Control]) -> None:
        if not self._message(self._fragments, 0, len(self._fragments), now_ns, None):
            controls.append(Control(TEXT, bytes(self._fragments)))
        self._fragments.clear()

    def _message(self, data: bytearray, payload: int, stop: int, now_ns: int, frame: int | None) -> bool:
        """Checks one message, and offers its frame (from offset `frame`) to the stream; False for foreign messages."""
        payloads, tally = self.stream.payloads, self.lane.tally
        marker = data.find(payloads.start, payload, stop)
        if marker < 0:
            return False
        read = payloads.read(data, marker, stop)
        if read is None:
            tally.corrupt += 1
            self._expected += bool(self._expected)  # it stands for the one that should have come
            return True
        sequence, sent_ns = read
        if self._in_order(sequence):
            if frame is not None:
                self.stream.offer(sequence, sent_ns, data[frame:stop])
            if sequence >= self.lane.measured_from:
                tally.deliveries += 1
                tally.last_ns = now_ns
                tally.latency.add(now_ns - sent_ns)
        return True

    def _in_order(self, sequence: int) -> bool:
        """Counts what is missing, late or there twice; False if this message counts as a delivery no more."""
        tally, expected = self.lane.tally, self._expected
        if sequence < expected:
            if not self._fill_hole(sequence):
                tally.duplicates += 1
                return False
            tally.lost -= 1
            tally.reordered += 1
            return True
        if expected and sequence > expected:
            tally.lost += sequence - expected
            self._holes = [*self._holes[1 - _HOLES :], (expected, sequence)]
        self._expected = sequence + 1
        return True

    def _fill_hole(self, sequence: int) -> bool:
        for index, (first, stop) in enumerate(self._holes):
            if first <= sequence < stop:
                parts = [(first, sequence), (sequence + 1, stop)]
                self._holes[index : index + 1] = [part for part in parts if part[0] < part[1]]
                return True
        return False

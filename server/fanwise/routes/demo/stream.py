"""The messages of a story, each with a number and the time at which it was due. No I/O."""

from __future__ import annotations

from typing import NamedTuple

_HEAD_BYTES = 48  # above what the number and the time take


class Stamp(NamedTuple):
    """The number and the time in a message."""

    number: int
    sent_at: float  # monotonic seconds


class Stream:
    """The messages of one run, numbered from 1, the same ones for both sides.

    Attributes:
        began: The beginning of the run (monotonic seconds).
        due: The messages that were due so far.
    """

    def __init__(self, began: float) -> None:
        self.began = began
        self.due = 0

    def stamp(self, now: float) -> Stamp:
        """Returns the stamp of the next message, which is due from now on."""
        self.due += 1
        return Stamp(self.due, now)

    def text(self, stamp: Stamp, size_bytes: int) -> str:
        """The message of `stamp`: number and microseconds since the beginning, hexadecimal, and padding.

        ASCII of `size_bytes`, or of as many bytes as the two take: 15 in the first hour.
        """
        microseconds = int((stamp.sent_at - self.began) * 1e6)
        return f"{stamp.number:x} {microseconds:x} ".ljust(size_bytes, ".")

    def read(self, data: bytes, start: int, stop: int) -> Stamp | None:
        """The stamp of the message in `data[start:stop]`; None if it is none of this stream: others may publish too."""
        number, _, rest = data[start : min(stop, start + _HEAD_BYTES)].partition(b" ")
        try:
            stamp = Stamp(int(number, 16), self.began + int(rest.partition(b" ")[0], 16) / 1e6)
        except ValueError:
            return None
        return stamp if 0 < stamp.number <= self.due else None

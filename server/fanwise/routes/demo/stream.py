"""The texts that the demo publishes, each with a number and the time at which it was sent. No I/O."""

from __future__ import annotations

from typing import NamedTuple

_HEAD_BYTES = 48  # above what the number and the time take


class Stamp(NamedTuple):
    """The number and the time in a message."""

    number: int
    sent_at: float  # monotonic seconds


class Stream:
    """The messages of one run, numbered from 1. `began` is the beginning of the run (monotonic seconds).

    Attributes:
        published: Messages that were published.
    """

    def __init__(self, began: float) -> None:
        self.began = began
        self.published = 0

    def text(self, size_bytes: int, now: float) -> str:
        """The next message: number and microseconds since the beginning, hexadecimal, and padding.

        ASCII of `size_bytes`, or of as many bytes as the two take: 15 in the first hour.
        """
        microseconds = int((now - self.began) * 1e6)
        return f"{self.published + 1:x} {microseconds:x} ".ljust(size_bytes, ".")

    def read(self, data: bytes, start: int, stop: int) -> Stamp | None:
        """The stamp of the message in `data[start:stop]`; None if it is none of this stream: others may publish too."""
        number, _, rest = data[start : min(stop, start + _HEAD_BYTES)].partition(b" ")
        try:
            stamp = Stamp(int(number, 16), self.began + int(rest.partition(b" ")[0], 16) / 1e6)
        except ValueError:
            return None
        return stamp if 0 < stamp.number <= self.published + 1 else None

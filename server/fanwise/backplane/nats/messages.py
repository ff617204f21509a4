"""Messages of the stream: what one node has published to one channel, in one piece.

A message is "epoch first bytes previous mark size size ...", a line feed, and texts of these sizes in bytes. A text is
"kind words", as in a frame, a line feed, key, tags and payload. The node makes it, and the stream takes it only
if nothing was published to the channel since `previous`: so what it says of the channel is true.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from ..frames import KINDS, pack, unpack
from ..port import Arrival, Outgoing

LINE_BYTES: Final = 128  # of a message's first line, without its sizes; and what headers and subject take
TEXT_BYTES: Final = 24  # what a publication takes beside its key, its tags and its payload
_EPOCH_BYTES: Final = 6
_DOT: Final = "="  # in a subject, for the dot of a channel's name: dots part its tokens


class Head(NamedTuple):
    """Where a channel stands.

    Attributes:
        epoch: Names the channel's log.
        offset: Of the newest publication; 0 before the first.
        sequence: Of the message in the stream that says so; 0 for none.
        size: Bytes of all payloads of the epoch so far.
    """

    epoch: str
    offset: int
    sequence: int
    size: int


class Message(NamedTuple):
    """A message that the stream has.

    Attributes:
        head: Where the channel stands with it.
        previous: Sequence of the message before it in its channel; 0 for none.
        mark: Names the node and its message.
        arrivals: Its publications; none if it only begins an epoch, or keeps one.
        at_ms: When the stream took it, in milliseconds of the engine's clock.
    """

    channel: str
    head: Head
    previous: int
    mark: str
    arrivals: list[Arrival]
    at_ms: int

    @property
    def first(self) -> int:
        """Offset of its first publication."""
        return self.head.offset - len(self.arrivals) + 1

    @property
    def size_before(self) -> int:
        """Bytes of all payloads of the epoch before it."""
        return self.head.size - sum(len(one.payload) for one in self.arrivals)


def token_of(channel: str) -> str:
    """Returns the channel's token in a subject."""
    return channel.replace(".", _DOT)


def channel_of(subject: bytes) -> str:
    """Returns the channel of a subject."""
    return subject[subject.rindex(b".") + 1 :].decode().replace(_DOT, ".")


def new_head() -> Head:
    """Returns where a channel stands that the stream has nothing of: at the beginning of a new epoch."""
    return Head(secrets.token_hex(_EPOCH_BYTES), 0, 0, 0)


def write(head: Head, mark: str, publications: Sequence[Outgoing]) -> bytes:
    """Returns the message that follows `head` with these publications."""
    texts = [b"%b\n%b" % pack(one) for one in publications]
    sizes = b" ".join(b"%d" % len(text) for text in texts)
    epoch, offset, previous, size = head
    line = b"%b %d %d %d %b %b\n" % (epoch.encode(), offset + 1, size, previous, mark.encode(), sizes)
    return line + b"".join(texts)


def read(channel: str, sequence: int, at_ms: int, data: bytes) -> Message:
    """Returns a message of the stream. Raises ValueError or KeyError if it is none."""
    begin = data.index(b"\n") + 1
    epoch_bytes, first, before, previous, mark, *sizes = data[: begin - 1].split(b" ")
    epoch, offset, size = epoch_bytes.decode(), int(first), int(before)
    arrivals = []
    for text_size in sizes:
        if text_size:
            arrival = _read_text(data[begin : begin + int(text_size)], channel, epoch, offset, at_ms)
            begin += int(text_size)
            offset += 1
            size += len(arrival.payload)
            arrivals.append(arrival)
    return Message(channel, Head(epoch, offset - 1, sequence, size), int(previous), mark.decode(), arrivals, at_ms)


def _read_text(text: bytes, channel: str, epoch: str, offset: int, at_ms: int) -> Arrival:
    end = text.index(b"\n")
    kind, *words = text[:end].split(b" ")
    begin, key, tags, exclude, span = unpack(map(bytes.decode, words), text, end + 1)
    return Arrival(channel, epoch, offset, text[begin:], KINDS[kind], key, at_ms, tags, exclude, span)


def nanoseconds(text: str) -> int:
    """Returns a time as JetStream writes it, since 1970."""
    moment, _, fraction = text.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{moment}+00:00").timestamp())
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0"))

"""A trace: what a server has published, and what each client that was behind has taken, as a compact file.

A trace is a line with the version, and blocks. A block is its length and its CRC-32, four bytes each with the lowest
first, and then its content. The first block is the header, in JSON. Other blocks are records, one after the other:

    record  = tag, microseconds since the record before (in a block's first one: since the trace began), fields
    tag     = number of the record's type in the low four bits, flags in the high ones
    fields  = integers as varints (LEB128, 63 bits), texts as their length and UTF-8, in the order of the type

A `Published` leaves out its channel or its size where the `Published` before it in the block has the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias
from zlib import crc32

VERSION: Final = 1
MOST_BLOCK_BYTES: Final = 65_536
BLOCK_BYTES: Final = 16_384  # after which a block is closed: no record is as long as what is left then
LINE: Final = b"fanwise trace %d\n"
FRAME_BYTES: Final = 8  # length and CRC-32 of a block
MOST_TEXT_BYTES: Final = 1_024
MOST_SIZE_BYTES: Final = 1 << 30  # of a payload: a larger one is recorded as so large
MICROSECONDS: Final = 1e6
MORE: Final = 128  # flag of a varint's byte: another one follows


class Header(NamedTuple):
    """What a trace begins with.

    Attributes:
        server: Version of the server that has recorded it.
        began_at: Seconds since 1970. The times of all records count from here.
        settings: Those in force, by name; also `audit_seconds`, the time between two audits.
    """

    server: str
    began_at: float
    settings: dict[str, int | float | str | None]


class ChannelSeen(NamedTuple):
    """A channel, before its first other record.

    Attributes:
        at: Seconds since the trace began; so in all records.
        channel: Its number in this trace: 1 for the first, then one more each. A log that is opened anew gets another.
        name: Its name.
        head: Offset of its newest publication. The next `Published` of the channel has the offset `head + 1`.
        clients: How many clients it has.
    """

    at: float
    channel: int
    name: str
    head: int
    clients: int


class Published(NamedTuple):
    """A publication.

    Attributes:
        size_bytes: Of its payload.
        key: A number for its key: the same for the same key, another for another one but for one in 4 * 10**9; 0: none.
    """

    at: float
    channel: int
    size_bytes: int
    key: int


class Connected(NamedTuple):
    """A client, before its first other record.

    Attributes:
        client: Its number in this trace: 1 for the first, then one more each.
        here: Whether it had come before the trace began. Of those only clients that fall behind are in the trace.
        before: The number of the dropped client that it is taken for, by address and position; 0: none.
        path: How sweeps reach it: "direct", "transport" or "asgi".
        dialect: The name of its dialect.
    """

    at: float
    client: int
    here: bool
    before: int
    path: str
    dialect: str


class Subscribed(NamedTuple):
    """A client has come onto a channel, or was there at its `Connected`.

    Attributes:
        resumed: Whether it came with a position.
        lag: Publications that it had still to get then.
        missing: Publications after its position that the log had let go of.
    """

    at: float
    client: int
    channel: int
    resumed: bool
    lag: int
    missing: int


class Unsubscribed(NamedTuple):
    """A client has left a channel, and stays connected."""

    at: float
    client: int
    channel: int


class Closed(NamedTuple):
    """A client has gone, or has been sent its close frame.

    Attributes:
        reason: The name of the close reason: "slow", "stalled", "normal", ...
        lag: Publications that it had still to get.
        lag_bytes: Their payload bytes, and what waited in user space for its socket.
    """

    at: float
    client: int
    reason: str
    lag: int
    lag_bytes: int


class FellBehind(NamedTuple):
    """A client has left the ready groups: its socket took no more."""

    at: float
    client: int


class CaughtUp(NamedTuple):
    """A client is up to date again, and its sink is empty."""

    at: float
    client: int


class Audited(NamedTuple):
    """An audit begins. The samples that follow belong to it."""

    at: float


class Sample(NamedTuple):
    """How far behind a client is on a channel, at an audit. Clients that are ready have none.

    Attributes:
        held_up: Whether its connection keeps the client from being served.
        lag: Publications that it has not been given.
        lag_bytes: Their payload bytes, as far as the log retains them.
        buffered_bytes: Bytes on the wire that wait in user space for its socket: the same in all its channels.
        kernel_bytes: Bytes on the wire that the kernel holds for the peer, unsent or not acknowledged; -1: unknown.
    """

    at: float
    client: int
    channel: int
    held_up: bool
    lag: int
    lag_bytes: int
    buffered_bytes: int
    kernel_bytes: int


class Ended(NamedTuple):
    """The last record of a whole trace.

    Attributes:
        reason: Why it ends: "asked" (its time was up), "stopped" (the server), "bytes" (its bound), "slow" (its
            reader, or its disk) or "expired" (the token of its reader).
    """

    at: float
    reason: str


Record: TypeAlias = (
    ChannelSeen
    | Published
    | Connected
    | Subscribed
    | Unsubscribed
    | Closed
    | FellBehind
    | CaughtUp
    | Audited
    | Sample
    | Ended
)

PUBLISHED: Final = 1
SAME_CHANNEL, SAME_SIZE, KEYED = 16, 32, 64  # flags of a Published
FLAG: Final = 16  # in all other types: their field of type bool
# {type: (tag, its fields after `at`: u(nsigned), n(umber from -1 on), t(ext), c(hannel), p(eer: a client), f(lag))}
SHAPES: Final[dict[type[Any], tuple[int, str]]] = {
    ChannelSeen: (2, "utuu"),
    Connected: (3, "ufutt"),
    Subscribed: (4, "pcfuu"),
    Unsubscribed: (5, "pc"),
    Closed: (6, "ptuu"),
    FellBehind: (7, "p"),
    CaughtUp: (8, "p"),
    Audited: (9, ""),
    Sample: (10, "pcfuuun"),
    Ended: (11, "t"),
}


def key_number(key: str | None) -> int:
    """Returns the number that stands for a key in a trace; 0 for None."""
    return 0 if key is None else crc32(key.encode("utf-8", "surrogatepass")) or 1


class TraceEncoder:
    """Makes the bytes of a trace. Owns the invariant that blocks are bounded, and that time does not go back.

    Args:
        header: What the trace begins with.
        on_block: Called when a record has filled a block.
    """

    __slots__ = ("_channel", "_content", "_done", "_latest", "_on_block", "_past", "_size_bytes")

    def __init__(self, header: Header, *, on_block: Callable[[], None] = lambda: None) -> None:
        self._on_block = on_block
        self._done = bytearray(LINE % VERSION + _block(json.dumps(header._asdict()).encode()))
        self._content = bytearray()
        self._latest = 0  # microseconds of the latest record
        self._past = 0  # what the next record's time counts from
        self._channel = self._size_bytes = -1  # of the latest Published in this block

    @property
    def pending_bytes(self) -> int:
        """Bytes that `take` would return, but for the frame of the last block."""
        return len(self._done) + len(self._content)

    def published(self, at: float, channel: int, size_bytes: int, key: int = 0) -> None:
        """Adds a `Published`. O(1)."""
        content = self._content
        same_channel, same_size = channel == self._channel, size_bytes == self._size_bytes
        content.append(PUBLISHED | same_channel * SAME_CHANNEL | same_size * SAME_SIZE | (KEYED if key else 0))
        self._add_time(at)
        if not same_channel:
            self._channel = channel
            _add_number(content, channel)
        if not same_size:
            self._size_bytes = size_bytes
            _add_number(content, min(size_bytes, MOST_SIZE_BYTES))
        if key:
            _add_number(content, key)
        if len(content) >= BLOCK_BYTES:
            self._close_block()
            self._on_block()

    def add(self, record: Record) -> None:
        """Adds a record. A time before that of the latest record becomes that time. O(1)."""
        if isinstance(record, Published):
            return self.published(*record)
        tag, shape = SHAPES[type(record)]
        values = record[1:]
        content = self._content
        content.append(tag | (FLAG if "f" in shape and values[shape.index("f")] else 0))
        self._add_time(record.at)
        for field, value in zip(shape, values, strict=True):
            if field == "t":
                _add_text(content, str(value))
            elif field != "f":
                assert isinstance(value, int)
                _add_number(content, value + (field == "n"))
        if len(content) >= BLOCK_BYTES:
            self._close_block()
            self._on_block()
        return None

    def take(self) -> bytes:
        """Returns what was added since the last call, as whole blocks."""
        self._close_block()
        done, self._done = bytes(self._done), bytearray()
        return done

    def _add_time(self, at: float) -> None:
        latest = max(int(at * MICROSECONDS + 0.5), self._latest)
        _add_number(self._content, latest - self._past)
        self._latest = self._past = latest

    def _close_block(self) -> None:
        if self._content:
            self._done += _block(self._content)
            self._content = bytearray()
            self._past = 0
            self._channel = self._size_bytes = -1


def _block(content: bytes | bytearray) -> bytes:
    return len(content).to_bytes(4, "little") + crc32(content).to_bytes(4, "little") + content


def _add_number(content: bytearray, value: int) -> None:
    while value >= MORE:
        content.append(value & MORE - 1 | MORE)
        value >>= 7
    content.append(value)


def _add_text(content: bytearray, text: str) -> None:
    data = text.encode(errors="replace")
    if len(data) > MOST_TEXT_BYTES:
        data = data[:MOST_TEXT_BYTES].decode(errors="ignore").encode()  # no part of a character
    _add_number(content, len(data))
    content += data

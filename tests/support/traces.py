"""A trace of all kinds of records."""

from __future__ import annotations

from zlib import crc32

from fanwise.core.trace import (
    Audited,
    CaughtUp,
    ChannelSeen,
    Closed,
    Connected,
    Ended,
    FellBehind,
    Header,
    Published,
    Record,
    Sample,
    Subscribed,
    TraceEncoder,
    Unsubscribed,
    key_number,
)

HEADER = Header("1.2.3", 1_700_000_000.5, {"queue_messages": 1024, "overflow": "disconnect", "memory_bytes": None})
STORY: list[Record] = [
    ChannelSeen(0.0, 1, "lobby", 17, 3),
    Connected(0.0, 1, True, 0, "direct", "fanwise.v1"),
    Subscribed(0.0, 1, 1, False, 2, 0),
    Published(0.25, 1, 1_000, 0),
    Published(0.25, 1, 1_000, key_number("cursor:7")),
    Published(0.250001, 1, 200_000, 0),
    FellBehind(0.3, 1),
    Audited(0.5),
    Sample(0.5, 1, 1, True, 12, 11_000, 900, -1),
    Sample(0.5, 1, 1, False, 12, 11_000, 0, 65_536),
    CaughtUp(0.6, 1),
    Closed(0.7, 1, "slow", 1_025, 1 << 40),
    Connected(0.9, 2, False, 1, "asgi", ""),
    Subscribed(0.9, 2, 1, True, 1_025, 3),
    Unsubscribed(1.0, 2, 1),
    Ended(2.0, "asked"),
]


def block(*parts: bytes | int) -> bytes:
    """A block with a right checksum."""
    content = b"".join(bytes([part]) if isinstance(part, int) else part for part in parts)
    return len(content).to_bytes(4, "little") + crc32(content).to_bytes(4, "little") + content


def encoded(*records: Record, header: Header = HEADER) -> bytes:
    """The bytes of a trace."""
    encoder = TraceEncoder(header)
    for record in records:
        encoder.add(record)
    return encoder.take()

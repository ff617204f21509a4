"""From the socket to the endpoint: the protocol class on literal bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.wire import masked, wire

from . import Scenario, Step

WHOLE = masked(b"x" * 128) * 64
FRAGMENTED = (masked(b"x" * 64, 0x01) + masked(b"x" * 64, 0x80)) * 16


@contextmanager
def whole_messages() -> Iterator[Step]:
    """64 messages in one read: cut and unmasked without the library's parser, handed over without a task switch."""
    with wire() as connection:

        def step() -> int:
            connection.feed(WHOLE)
            return sum([len(data) for _, data in connection.read()])

        yield step


@contextmanager
def in_pieces() -> Iterator[Step]:
    """The same in reads of 1,000 bytes, most of which end inside a frame."""
    pieces = [WHOLE[at : at + 1000] for at in range(0, len(WHOLE), 1000)]
    with wire() as connection:

        def step() -> int:
            for piece in pieces:
                connection.feed(piece)
            return sum([len(data) for _, data in connection.read()])

        yield step


@contextmanager
def fragmented() -> Iterator[Step]:
    """16 messages of two small fragments: taken in without the library's parser."""
    with wire() as connection:

        def step() -> int:
            connection.feed(FRAGMENTED)
            return sum([len(data) for _, data in connection.read()])

        yield step


SCENARIOS = (
    Scenario("intake", whole_messages, does=64 * 128),
    Scenario("intake-in-pieces", in_pieces, does=64 * 128),
    Scenario("intake-fragments", fragmented, does=16 * 128),
)

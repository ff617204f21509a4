from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from server.encoding import join, plain_frame
from server.publication import Kind, Publication


def publication(payload: bytes, *, kind: Kind = Kind.TEXT, key: str | None = None) -> Publication:
    return Publication("lobby", "e", 1, payload, kind, 0.0, key)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("binary", [False, True])
def test_frames_at_every_header_length(size: int, binary: bool) -> None:
    """The frame is final, unmasked and whole, with a header of 2, 4 or 10 bytes."""
    frame = plain_frame(publication(b"x" * size, kind=Kind.BINARY if binary else Kind.TEXT))
    header = {True: 2, False: 4}[size < 126] if size < 65_536 else 10
    assert frame[0] == (0x82 if binary else 0x81)
    assert frame[1] < 128
    assert frame[header:] == b"x" * size


def test_join_puts_frames_side_by_side() -> None:
    """A slice is the frames in order and nothing else."""
    one, two = publication(b"one"), publication(b"two", kind=Kind.BINARY)
    assert join([one, two], plain_frame) == Frame(Opcode.TEXT, b"one").serialize(mask=False) + Frame(
        Opcode.BINARY, b"two"
    ).serialize(mask=False)

"""Frames: the publications that an engine takes, keeps and pushes in one piece.

A frame is "generation number sender size size ...", a line feed, and texts of these sizes in bytes. A text is
"epoch offset at_ms channel kind" or "epoch offset at_ms channel kind key_bytes", a line feed, the key and the payload.
The engine makes the first line of both; kind, key and payload pass through the engine as they are.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..core.publication import Kind
from .port import Arrival, Outgoing

LETTERS: Final = {Kind.TEXT: b"T", Kind.JSON: b"J", Kind.BINARY: b"B"}
KINDS: Final = {letter: kind for kind, letter in LETTERS.items()}


class FrameHead(NamedTuple):
    """The first line of a frame.

    Attributes:
        sizes: Of the texts, in bytes.
        begin: Where the texts begin.
    """

    generation: int
    number: int
    sizes: list[int]
    begin: int


def pack(outgoing: Outgoing) -> tuple[bytes, bytes]:
    """Returns what passes through the engine: the kind with the key's size, and the key with the payload."""
    letter = LETTERS[outgoing.kind]
    if outgoing.key is None:
        return letter, outgoing.payload
    key = outgoing.key.encode(errors="surrogatepass")
    return b"%b %d" % (letter, len(key)), key + outgoing.payload


def read_head(frame: bytes) -> FrameHead:
    """Returns the first line of a frame. Raises ValueError if it is none."""
    end = frame.index(b"\n")
    generation, number, _, *sizes = frame[:end].split(b" ")
    return FrameHead(int(generation), int(number), list(map(int, sizes)) if sizes != [b""] else [], end + 1)


def read_frame(frame: bytes, head: FrameHead) -> list[Arrival]:
    """Returns the publications of a frame. Raises ValueError or KeyError if its texts are none."""
    arrivals, begin = [], head.begin
    for size in head.sizes:
        arrivals.append(read_text(frame[begin : begin + size]))
        begin += size
    return arrivals


def read_text(text: bytes) -> Arrival:
    """Returns the publication of a text. Raises ValueError or KeyError if it is none."""
    end = text.index(b"\n")
    epoch, offset, at_ms, channel, kind, *key_size = text[:end].split(b" ")
    begin, key = end + 1, None
    if key_size:
        begin += int(key_size[0])
        key = text[end + 1 : begin].decode(errors="surrogatepass")
    return Arrival(channel.decode(), epoch.decode(), int(offset), text[begin:], KINDS[kind], key, int(at_ms))

"""Frames: the publications that an engine takes, keeps and pushes in one piece.

A frame is "generation number sender size size ...", a line feed, and texts of these sizes in bytes. A text is
"epoch offset at_ms channel kind" or "epoch offset at_ms channel kind key_bytes", a line feed, the key and the payload.
The engine makes the first line of both; kind, key and payload pass through the engine as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, cast

from ..core.publication import Kind
from .port import Arrival, Outgoing

LETTERS: Final = {Kind.TEXT: b"T", Kind.JSON: b"J", Kind.BINARY: b"B"}
KINDS: Final = {letter: kind for kind, letter in LETTERS.items()}
_KINDS: Final = {letter.decode(): kind for letter, kind in KINDS.items()}
_WORDS_WITH_KEY: Final = 6
_new = cast("Callable[[type[Arrival], tuple[Any, ...]], Arrival]", tuple.__new__)  # calling the class is dearer


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
    return _read(frame, head.begin, head.sizes)


def read_text(text: bytes) -> Arrival:
    """Returns the publication of a text. Raises ValueError or KeyError if it is none."""
    return _read(text, 0, [len(text)])[0]


def _read(data: bytes, begin: int, sizes: Sequence[int]) -> list[Arrival]:
    """Returns the publications of texts that follow each other. One loop, as it runs for all of the fleet's frames."""
    arrivals, stamp, at_ms = [], "", 0
    for size in sizes:
        stop = begin + size
        end = data.index(b"\n", begin, stop)
        words = data[begin:end].decode().split(" ")
        begin, key = end + 1, None
        if len(words) == _WORDS_WITH_KEY:
            begin += int(words.pop())
            key = data[end + 1 : begin].decode(errors="surrogatepass")
        epoch, offset, stamped, channel, kind = words
        if stamped != stamp:  # most texts of a frame were taken at one time
            stamp, at_ms = stamped, int(stamped)
        arrivals.append(_new(Arrival, (channel, epoch, int(offset), data[begin:stop], _KINDS[kind], key, at_ms)))
        begin = stop
    return arrivals

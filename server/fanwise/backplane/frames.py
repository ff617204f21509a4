"""Frames: the publications that an engine takes, keeps and pushes in one piece.

A frame is "generation number sender size size ...", a line feed, and texts of these sizes in bytes. A text is
"epoch offset at_ms channel kind words", a line feed, key, tags and payload. The words behind the kind may be missing:
"12" for a key of 12 bytes, "t34" for tags that are 34 bytes of JSON, "x" with the id of a client that is excluded, and
"s" with the name of a span.
The engine makes the first line of both, up to the channel; all else passes through the engine as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias, cast

import orjson

from ..core.filters import Tags, check_tags
from ..core.publication import Kind
from .port import Arrival, Outgoing

LETTERS: Final = {Kind.TEXT: b"T", Kind.JSON: b"J", Kind.BINARY: b"B"}
KINDS: Final = {letter: kind for kind, letter in LETTERS.items()}
_KINDS: Final = {letter.decode(): kind for letter, kind in KINDS.items()}
_TEXT: Final = Kind.TEXT
_WORDS: Final = 5  # of a text without a key and without tags
_TAGS: Final = "t"
_EXCLUDED: Final = "x"
_SPAN: Final = "s"
_SPAN_NAME: Final = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}")
_new = cast("Callable[[type[Arrival], tuple[Any, ...]], Arrival]", tuple.__new__)  # calling the class is dearer


@lru_cache(maxsize=256)
def _read_tags(text: bytes) -> Tags | None:
    """Returns tags from JSON, equal ones as one object: a channel has few that differ."""
    return check_tags(orjson.loads(text))


Unpacked: TypeAlias = tuple[int, str | None, Tags | None, str | None, str | None]


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
    """Returns what passes through the engine: the kind and the words behind it, and key and tags with the payload."""
    line = b"T" if outgoing.kind is _TEXT else LETTERS[outgoing.kind]  # members of an enumeration are dear as keys
    before = b""
    if outgoing.key is not None:
        before = outgoing.key.encode(errors="surrogatepass")
        line += b" %d" % len(before)
    if outgoing.tags is not None:
        tags = orjson.dumps(outgoing.tags)
        line += b" t%d" % len(tags)
        before += tags
    if outgoing.exclude:
        line += b" x%b" % outgoing.exclude.encode()
    if outgoing.span is not None:
        line += b" s%b" % outgoing.span.encode()
    return line, before + outgoing.payload if before else outgoing.payload


def unpack(words: Iterable[str], text: bytes, begin: int) -> Unpacked:
    """Returns where the payload of a text begins, its key, its tags, the client that is excluded, and its span.

    Args:
        words: Those behind the kind.
        text: What has the text in it.
        begin: Where the key would begin.

    Raises:
        ValueError: The words or the tags are none.
    """
    key, tags, exclude, span = None, None, None, None
    for word in words:
        if word.startswith(_SPAN):
            span = word.removeprefix(_SPAN)
            if _SPAN_NAME.fullmatch(span) is None:
                raise ValueError(f"{span[:80]!r} names no span")
            continue
        if word.startswith(_EXCLUDED):
            exclude = word.removeprefix(_EXCLUDED)
            if not exclude:
                raise ValueError("the id of an excluded client is empty")
            continue
        if word.startswith(_TAGS):
            end = begin + int(word.removeprefix(_TAGS))
            tags = _read_tags(text[begin:end])
        else:
            end = begin + int(word)
            key = text[begin:end].decode(errors="surrogatepass")
        begin = end
    return begin, key, tags, exclude, span


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
    run: list[bytes] | None = None  # payloads of texts that differ from the one before in offset and payload alone
    latest, number = "", 0  # its channel and offset
    epoch = kind = ""
    before = after = b""  # what its line has around the offset
    more: Sequence[bytes]
    for size in sizes:
        stop = begin + size
        if run is not None:
            if not run:
                before, after = f"{epoch} ".encode(), f" {stamp} {latest} {kind}\n".encode()
            number += 1
            line = b"%b%d%b" % (before, number, after)
            if data.startswith(line, begin, stop):
                run.append(data[begin + len(line) : stop])
                begin = stop
                continue
            run = None
        end = data.index(b"\n", begin, stop)
        words = data[begin:end].decode().split(" ")
        begin, key, tags, exclude, span, more, other = end + 1, None, None, None, None, (), latest
        if len(words) > _WORDS:
            begin, key, tags, exclude, span = unpack(words[_WORDS:], data, begin)
            del words[_WORDS:]
            other = ""
        epoch, offset, stamped, latest, kind = words
        if latest == other:  # the second one: there may be a run of them
            more = run = []
        number = int(offset)
        if stamped != stamp:  # most texts of a frame were taken at one time
            stamp, at_ms = stamped, int(stamped)
        arrival = (latest, epoch, number, data[begin:stop], _KINDS[kind], key, at_ms, tags, exclude, span, more)
        arrivals.append(_new(Arrival, arrival))
        begin = stop
    return arrivals

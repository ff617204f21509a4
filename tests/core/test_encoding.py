from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from functools import partial

import pytest
from websockets.frames import Frame, Opcode

from fanwise.broadcaster.publisher import serialise
from fanwise.core.encoding import (
    event,
    join,
    json_bytes,
    json_frame,
    json_message,
    plain_frame,
    plain_frames,
    sse_chunk,
    sse_event,
    sse_json_chunk,
    sse_json_event,
)
from fanwise.core.publication import Kind, Publication


def publication(payload: bytes, *, kind: Kind = Kind.TEXT, key: str | None = None) -> Publication:
    return Publication("lobby", "e", 1, payload, kind, 0.0, key)


def test_json_takes_the_memory_of_its_bytes() -> None:
    """Counted by the interpreter: what is retained would take 4 KiB each as orjson returns it."""
    makers: list[Callable[[], bytes]] = [
        partial(json_bytes, {"a": 1}),
        partial(json_message, publication(b"x")),
        lambda: serialise({"a": 1})[1],
    ]
    for make in makers:
        tracemalloc.start()
        try:
            kept = [make() for _ in range(500)]
            assert tracemalloc.get_traced_memory()[0] < 500 * (len(kept[0]) + 100)
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("binary", [False, True])
def test_frames_at_every_header_length(size: int, binary: bool) -> None:
    """The frame is final, unmasked and whole, with a header of 2, 4 or 10 bytes."""
    frame = plain_frame(publication(b"x" * size, kind=Kind.BINARY if binary else Kind.TEXT))
    header = {True: 2, False: 4}[size < 126] if size < 65_536 else 10
    assert frame[0] == (0x82 if binary else 0x81)
    assert frame[1] < 128
    assert frame[header:] == b"x" * size


@pytest.mark.parametrize("kept", [False, True])
def test_frames_that_are_made_together_are_those_that_are_made_apart(kept: bool) -> None:
    """At each length of the header, for texts and bytes, one after the other in any order."""
    sizes = [0, 125, 125, 126, 126, 65_535, 65_536, 65_536, 3]
    made = [publication(b"x" * size, kind=kind) for size in sizes for kind in (Kind.TEXT, Kind.TEXT, Kind.BINARY)]
    apart = b"".join([plain_frame(one) for one in made])
    if kept:
        made[0].encoded(plain_frame)
    assert join(made, plain_frame) == join(made[::-1][::-1], plain_frame) == apart
    assert join(made[:0:-1], plain_frame) == b"".join([plain_frame(one) for one in made[:0:-1]])


def test_frames_of_one_size_are_those_that_are_made_apart() -> None:
    """Also where only the first and the last are of one size or kind."""
    for sizes in ([5] * 4, [126] * 3, [5, 6, 5], [65_536] * 2, [0, 0], [7]):
        for kinds in (
            [Kind.TEXT],
            [Kind.JSON],
            [Kind.BINARY],
            [Kind.TEXT, Kind.BINARY],
            [Kind.BINARY, Kind.JSON, Kind.BINARY],
        ):
            made = [publication(b"x" * size, kind=kinds[at % len(kinds)]) for at, size in enumerate(sizes)]
            assert plain_frames(made) == b"".join([plain_frame(one) for one in made])


def test_join_puts_frames_side_by_side() -> None:
    """A slice is the frames in order and nothing else."""
    one, two = publication(b"one"), publication(b"two", kind=Kind.BINARY)
    assert join([one, two], plain_frame) == Frame(Opcode.TEXT, b"one").serialize(mask=False) + Frame(
        Opcode.BINARY, b"two"
    ).serialize(mask=False)


@pytest.mark.parametrize(
    ("payload", "kind", "key", "fields"),
    [
        ("zwölf\n\"'\x00".encode(), Kind.TEXT, None, {"data": "zwölf\n\"'\x00"}),
        (b' {"a": [1, 2]}', Kind.JSON, "k", {"data": {"a": [1, 2]}, "key": "k"}),
        (b"null", Kind.JSON, None, {"data": None}),
        (b"\x00\xff", Kind.BINARY, "", {"data": "AP8=", "encoding": "base64", "key": ""}),
    ],
)
def test_a_json_message_is_one_text_frame(
    payload: bytes, kind: Kind, key: str | None, fields: dict[str, object]
) -> None:
    """Text is a string, JSON is itself, bytes are base64; a key is told if there is one, also an empty one."""
    told = publication(payload, kind=kind, key=key)
    assert json.loads(json_message(told)) == {"op": "message", "channel": "lobby", "offset": 1, **fields}
    assert json_frame(told) == Frame(Opcode.TEXT, json_message(told)).serialize(mask=False)


@pytest.mark.parametrize(
    "text", ["", "a", "a\nb", "a\r\nb", "a\rb", "\n", "\n\n", "x\n\nevent: evil\nid: 9\n\n", ": c"]
)
def test_no_payload_can_end_its_event(text: str) -> None:
    """Each line is data, whatever ends it; nothing of the payload is a field, an end or a comment."""
    lines = event(text.encode(), name="n", event_id="e:1", retry_ms=5).decode().removesuffix("\n\n").split("\n")
    assert lines[:3] == ["event: n", "id: e:1", "retry: 5"]
    assert all(line.startswith("data: ") for line in lines[3:])
    data = "\n".join(line.removeprefix("data: ") for line in lines[3:])
    assert data == text.replace("\r\n", "\n").replace("\r", "\n")


def test_events_carry_positions_and_chunks_carry_events() -> None:
    """The id of an event is its position; binary is told apart by the event's name."""
    text, binary = publication(b"hi"), publication(b"\xff", kind=Kind.BINARY)
    assert sse_event(text) == b"id: e:1\ndata: hi\n\n"
    assert sse_event(binary) == b"event: binary\nid: e:1\ndata: /w==\n\n"
    assert sse_json_event(text) == b"id: e:1\ndata: " + json_message(text) + b"\n\n"
    for encoding, inner in ((sse_chunk, sse_event), (sse_json_chunk, sse_json_event)):
        size, _, rest = encoding(text).partition(b"\r\n")
        assert (int(size, 16), rest) == (len(inner(text)), inner(text) + b"\r\n")

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from fanwise.transport.frames import BINARY, OTHER, TEXT, FrameCutter, utf_8_tail

MAX_BYTES = 70_000


def frame(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin=fin).serialize(mask=True)


def feed(*parts: bytes, raw: bool = False, max_bytes: int = MAX_BYTES) -> list[tuple[int, bytes]]:
    cutter = FrameCutter(max_bytes=max_bytes)
    return [piece for part in parts for piece in cutter.feed(part, raw=raw)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, MAX_BYTES])
def test_whole_messages_are_unmasked(size: int) -> None:
    """At each length of the header."""
    payload = bytes(range(256)) * (size // 256 + 1)
    text, binary = frame(Opcode.TEXT, payload[:size]), frame(Opcode.BINARY, payload[:size])
    assert feed(text + binary) == [(TEXT, payload[:size]), (BINARY, payload[:size])]


def test_everything_else_comes_out_as_it_came_in() -> None:
    """Control frames, and all data frames of a fragmented message, in their order."""
    frames = [
        frame(Opcode.PING, b"ping"),
        frame(Opcode.TEXT, b"Hel", fin=False),
        frame(Opcode.PONG, b""),
        frame(Opcode.CONT, b"lo"),
        frame(Opcode.CLOSE, b"\x03\xe8"),
    ]
    assert feed(b"".join(frames)) == [(OTHER, one) for one in frames]
    assert feed(frames[1] + frame(Opcode.TEXT, b"against the rule"))[1][0] == OTHER


def test_raw_leaves_everything_to_somebody_else() -> None:
    """While nobody has asked for messages."""
    one = frame(Opcode.TEXT, b"text")
    assert feed(one + one[:3], one[3:], raw=True) == [(OTHER, one), (OTHER, one)]


_STREAM = [
    *(frame(Opcode.TEXT, b"x" * size) for size in (0, 1, 125, 126, 127, 65_535, 65_536, MAX_BYTES)),
    frame(Opcode.PING, b"ping"),
    *(frame(Opcode.TEXT, b"%d" % number) for number in range(4)),
    frame(Opcode.BINARY, b"binary"),
    frame(Opcode.TEXT, b"a", fin=False),
    frame(Opcode.TEXT, b"against the rule"),
    frame(Opcode.CONT, b"b"),
    frame(Opcode.TEXT, b"last"),
]
_BROKEN = {
    "unmasked": b"\x81\x01x",
    "too big": b"\x81\xfe\xff\xff" + bytes(70_000),
    "reserved": b"\xc1\x80" + bytes(40),
    "long length of a short text": b"\x81\xfe\x00\x03" + bytes(7),
}


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("at_most", [1, 3, 100])
@pytest.mark.parametrize("last", [b"", *_BROKEN.values()], ids=["whole", *_BROKEN])
def test_texts_that_come_first_are_cut_as_all_frames_are(last: bytes, at_most: int, raw: bool) -> None:
    """Call by call, wherever the stream is cut near a header."""
    stream, max_bytes = b"".join(_STREAM) + last, 65_000 if last else MAX_BYTES
    begins = [0, *accumulate(map(len, _STREAM))]
    for cut in sorted({min(begin + more, len(stream)) for begin in begins for more in (0, 1, 2, 3, 5, 6, 7, 8, 9)}):
        plain, texts_first = FrameCutter(max_bytes=max_bytes), FrameCutter(max_bytes=max_bytes)
        for part in (stream[:cut], stream[cut:], *([b""] * len(_STREAM))):
            texts, others = texts_first.feed_texts(part, raw=raw, at_most=at_most)
            assert [*((TEXT, text) for text in texts), *others] == plain.feed(part, raw=raw, at_most=at_most)
            assert (texts_first.rest, texts_first.more) == (plain.rest, plain.more)


@pytest.mark.parametrize(
    "behind",
    [frame(Opcode.PING, b""), frame(Opcode.BINARY, b"x" * 125), b"\x81\x01x"],
    ids=["ping", "binary", "unmasked"],
)
@pytest.mark.parametrize("header", [b"\x81\x80", b"\x81\x81", b"\x81\xfd", b"\x81\xfe\x00\x7e", b"\x81\xfe\x00\x03"])
def test_texts_of_one_length_are_cut_as_all_frames_are(header: bytes, behind: bytes) -> None:
    """With any number of them, wherever the second read begins, and whatever ends their row."""
    size = int.from_bytes(header[2:]) if header[2:] else header[1] - 0x80
    one = [header + bytes((number, 2, 3, 4)) + b"x" * size for number in range(9)]
    for stream in (b"".join([*one, behind, *one[:3]]), b"".join([*one[:6], frame(Opcode.TEXT, b"another"), *one])):
        for at_most in (3, 5, 8, 100):
            for cut in (0, *range(4 * len(one[0]), 5 * len(one[0])), len(stream)):
                plain, texts_first = FrameCutter(max_bytes=200), FrameCutter(max_bytes=200)
                for part in (stream[:cut], stream[cut:], *([b""] * 6)):
                    texts, others = texts_first.feed_texts(part, raw=False, at_most=at_most)
                    assert [*((TEXT, text) for text in texts), *others] == plain.feed(part, raw=False, at_most=at_most)
                    assert (texts_first.rest, texts_first.more) == (plain.rest, plain.more)


def test_long_texts_of_one_length_end_the_connection_together_or_apart() -> None:
    """What is too big is left, as the beginning of a frame that breaks a rule."""
    stream = frame(Opcode.TEXT, b"x" * 201) * 8
    assert FrameCutter(max_bytes=200).feed_texts(stream, raw=False) == ([], [(OTHER, stream)])


def test_texts_come_apart_from_what_is_behind_them() -> None:
    """In the first list as many as stand at the beginning."""
    ping, texts = frame(Opcode.PING, b""), [b"%d" % number * 60 for number in range(5)]
    stream = b"".join(frame(Opcode.TEXT, text) for text in texts)
    assert FrameCutter(max_bytes=MAX_BYTES).feed_texts(stream + ping, raw=False) == (texts, [(OTHER, ping)])


@pytest.mark.parametrize("head", [0xC1, 0xF2, 0x83, 0x8B])
def test_frames_that_break_a_rule_are_not_messages(head: int) -> None:
    """Extension bits and unknown opcodes: the parser ends the connection."""
    broken = bytes([head]) + frame(Opcode.TEXT, b"x")[1:]
    assert feed(broken) == [(OTHER, broken)]


def test_an_unmasked_frame_is_the_end() -> None:
    """RFC 6455 section 5.1: nothing behind it is cut any more."""
    unmasked = b"\x81\x01x"
    masked = frame(Opcode.TEXT, b"x")
    assert feed(unmasked + masked, masked) == [(OTHER, unmasked + masked), (OTHER, masked)]


@pytest.mark.parametrize("size", [126, 65_536])
def test_a_frame_that_is_too_big_is_not_collected(size: int) -> None:
    """Its header is enough."""
    header = frame(Opcode.TEXT, b"x" * size)[:14]
    assert feed(header, max_bytes=125) == [(OTHER, header)]


@given(
    messages=st.lists(
        st.tuples(
            st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.CONT]),
            st.one_of(st.binary(max_size=300), st.integers(0, 66_000).map(bytes)),
            st.booleans(),
        ),
        max_size=8,
    ),
    cuts=st.lists(st.integers(0, 200_000), max_size=12),
    raw=st.booleans(),
)
def test_however_the_stream_is_cut(messages: list[tuple[Opcode, bytes, bool]], cuts: list[int], raw: bool) -> None:
    """The same frames come out as from the whole stream, and none of it is lost."""
    frames = [
        frame(opcode, payload[:125] if opcode is Opcode.PING else payload, fin=fin or opcode is Opcode.PING)
        for opcode, payload, fin in messages
    ]
    stream = b"".join(frames)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parts = [stream[left:right] for left, right in pairwise(edges)]
    whole = feed(stream, raw=raw)
    assert feed(*parts, raw=raw) == whole
    assert len(whole) == len(frames)
    for (kind, piece), original, (opcode, payload, _) in zip(whole, frames, messages, strict=True):
        assert piece == (original if kind == OTHER else payload)
        assert kind == OTHER or (opcode, kind) in ((Opcode.TEXT, TEXT), (Opcode.BINARY, BINARY))


@given(
    st.one_of(st.binary(max_size=12), st.text(max_size=6).map(str.encode)),
    st.lists(st.sampled_from([b"\xed\xa0", b"\xed", b"\xf4\x90", b"\xe2\x82", b"a"]), max_size=2),
)
def test_the_tail_of_a_text_is_what_may_become_a_character(text: bytes, more: list[bytes]) -> None:
    """Held against every way in which a text can go on: there is one, or it is found to be wrong at once."""
    text += b"".join(more)
    tail = utf_8_tail(text, final=False)
    ways = [b"", b"\x80", b"\x80\x80", b"\x80\x80\x80", b"\x90\x80", b"\x90\x80\x80", b"\xa0\x80", b"\xa0\x80\x80"]
    assert (tail is not None) is any(is_utf_8(text + way) for way in ways)
    assert (utf_8_tail(text, final=True) == b"") is is_utf_8(text)
    assert tail is None or is_utf_8(text.removesuffix(tail))


def is_utf_8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True

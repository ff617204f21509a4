from __future__ import annotations

import json

import pytest

from fanwise.core.encoding import json_frame
from fanwise.core.publication import Kind, Publication
from fanwise.tools.bench.load.dialects import DIALECTS, Answer, Meaning, Position
from fanwise.tools.bench.load.payload import Payloads

V1 = DIALECTS["fanwise.v1"]
READY = Answer(Meaning.READY, position=Position("e", 0), recovered=True)


def test_payloads_need_no_escaping() -> None:
    """What is published by hand is JSON, and carries the payload as it is."""
    payload = Payloads("abcd1234", size_bytes=200).build(1, 2)
    said = json.loads(V1.publish("a/b:c", payload))
    assert said == {"op": "publish", "channel": "a/b:c", "data": payload.decode()}
    assert json.loads(V1.publish("c", b"x", "k7")) == {"op": "publish", "channel": "c", "key": "k7", "data": "x"}
    assert json.loads(V1.opening("x") or b"") == {"op": "subscribe", "channel": "x"}
    since = {"op": "subscribe", "channel": "x", "since": {"epoch": "e", "offset": 4}}
    assert json.loads(V1.opening("x", Position("e", 4)) or b"") == since


def test_offsets_are_found_in_frames() -> None:
    """As Fanwise makes them; a plain message has none."""
    published = Publication("c", "e", 17, b'{"offset":4}', Kind.TEXT, 0.0)
    assert V1.offset(json_frame(published)) == 17
    assert V1.offset(b"\x81\x00") is None
    assert DIALECTS["plain"].offset(b"x") is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b'{"op":"subscribed","channel":"c","epoch":"e","offset":0,"recovered":true}', READY),
        (b'{"op":"gap","channel":"c","epoch":"e","from":3,"to":7,"reason":"slow"}', Answer(Meaning.GAP, skipped=5)),
        (b'{"op":"error","code":"too_big","message":"no"}', Answer(Meaning.REFUSED, text="too_big: no")),
        (b'{"op":"published","channel":"c","epoch":"e","offset":1}', Answer(Meaning.OTHER)),
        (b'{"op":"welcome"}', Answer(Meaning.OTHER)),
        (b'{"op":"gap"}', Answer(Meaning.OTHER)),
        (b"[1]", Answer(Meaning.OTHER)),
        (b"hello", Answer(Meaning.OTHER)),
    ],
)
def test_answers(text: bytes, answer: Answer) -> None:
    """By their op; what cannot be read is nothing to us."""
    assert V1.read(text) == answer


def test_plain() -> None:
    """The connection subscribes, the payload is the message."""
    plain = DIALECTS["plain"]
    assert (plain.opening("c"), plain.publish("c", b"x"), plain.read(b"x")) == (None, b"x", Answer(Meaning.OTHER))

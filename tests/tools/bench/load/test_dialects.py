from __future__ import annotations

import json

import pytest

from fanwise.tools.bench.load.dialects import DIALECTS, Answer, Meaning
from fanwise.tools.bench.load.payload import Payloads

V1 = DIALECTS["fanwise.v1"]


def test_payloads_need_no_escaping() -> None:
    """What is published by hand is JSON, and carries the payload as it is."""
    payload = Payloads("abcd1234", size_bytes=200).build(1, 2)
    said = json.loads(V1.publish("a/b:c", payload))
    assert said == {"op": "publish", "channel": "a/b:c", "data": payload.decode()}
    assert json.loads(V1.opening("x") or b"") == {"op": "subscribe", "channel": "x"}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b'{"op":"subscribed","channel":"c","epoch":"e","offset":0,"recovered":false}', Answer(Meaning.READY)),
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

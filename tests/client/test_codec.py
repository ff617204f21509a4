from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from fanwise.client.codec import (
    SUBPROTOCOL,
    Arrival,
    Authenticated,
    Direct,
    Event,
    Failure,
    Gap,
    Message,
    Published,
    Skipped,
    Subscribed,
    Unsubscribed,
    Welcome,
    decode,
    encode_publish,
    encode_subscribe,
    encode_unsubscribe,
)
from fanwise.client.errors import DialectError, PublishError
from fanwise.client.presence import Leave
from fanwise.core.publication import Position
from fanwise.routes import json_models
from fanwise.routes.json_models import parse_op


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        ({"op": "welcome", "client": "c1", "version": "9", "max_message_bytes": 7}, Welcome("c1", 7)),
        (
            {"op": "subscribed", "channel": "a", "epoch": "e", "offset": 3, "recovered": True},
            Subscribed("a", Position("e", 3)),
        ),
        ({"op": "message", "channel": "a", "offset": 4, "data": {"x": [1]}}, Arrival("a", 4, {"x": [1]}, None)),
        ({"op": "message", "channel": "a", "offset": 4, "data": None, "key": "k"}, Arrival("a", 4, None, "k")),
        (
            {"op": "message", "channel": "a", "offset": 4, "data": "AP8=", "encoding": "base64"},
            Arrival("a", 4, b"\x00\xff", None),
        ),
        (
            {"op": "message", "channel": "a", "offset": 4, "data": 1, "tags": {"b": "c"}},
            Arrival("a", 4, 1, None, {"b": "c"}),
        ),
        ({"op": "skipped", "channel": "a", "epoch": "e", "offset": 4}, Skipped("a", Position("e", 4))),
        ({"op": "direct", "data": "AP8=", "encoding": "base64"}, Direct(b"\x00\xff")),
        ({"op": "authenticated", "user": "u", "expires_in": 0.5}, Authenticated("u", 0.5)),
        ({"op": "authenticated", "user": "u"}, Authenticated("u", None)),
        ({"op": "leave", "channel": "a", "id": "u"}, Leave("a", "u")),
        (
            {"op": "gap", "channel": "a", "epoch": "e", "from": 1, "to": 0, "reason": "epoch"},
            Gap("a", "e", 1, 0, "epoch"),
        ),
        ({"op": "unsubscribed", "channel": "a"}, Unsubscribed("a")),
        (
            {"op": "published", "id": 5, "channel": "a", "epoch": "e", "offset": 9},
            Published(5, Position("e", 9)),
        ),
        (
            {"op": "error", "code": "too_big", "message": "no", "id": 5, "channel": "a"},
            Failure("too_big", "no", 5, "a"),
        ),
        ({"op": "error", "code": "bad_json", "message": "no"}, Failure("bad_json", "no", None, "")),
    ],
)
def test_each_frame_of_the_server(frame: dict[str, Any], event: Event) -> None:
    """Each kind of frame becomes one object."""
    assert decode(json.dumps(frame)) == event


def test_a_later_version_may_say_more() -> None:
    """An unknown op and unknown fields are no errors."""
    assert decode('{"op":"weather","who":"x"}') is None
    assert decode('{"op":"unsubscribed","channel":"a","why":"x"}') == Unsubscribed("a")


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (b"\x00", "a binary frame"),
        ("{", "no JSON"),
        ("[]", "fanwise.v1"),
        ("7", "fanwise.v1"),
        ('{"op":[]}', "fanwise.v1"),
        ('{"channel":"a"}', "no field 'op'"),
        ('{"op":"message","channel":"a","data":1}', "no field 'offset'"),
        ('{"op":"message","channel":"a","offset":"1","data":1}', "offset is no integer"),
        ('{"op":"message","channel":"a","offset":true,"data":1}', "offset is no integer"),
        ('{"op":"message","channel":3,"offset":1,"data":1}', "channel is no string"),
        ('{"op":"message","channel":"a","offset":1,"data":"%","encoding":"base64"}', "fanwise.v1"),
        ('{"op":"message","channel":"a","offset":1,"data":7,"encoding":"base64"}', "fanwise.v1"),
    ],
)
def test_what_is_not_the_dialect(frame: str | bytes, says: str) -> None:
    """The error names what is wrong and shows the frame."""
    with pytest.raises(DialectError, match=r"fanwise\.v1") as caught:
        decode(frame)
    assert says in str(caught.value)


def test_a_large_frame_is_shown_in_part() -> None:
    """What a stranger sent does not fill the log."""
    with pytest.raises(DialectError) as caught:
        decode("[" * 100_000)
    assert len(str(caught.value)) < 300


def test_requests() -> None:
    """What goes out has the dialect's fields and no others."""
    assert json.loads(encode_subscribe("a", None)) == {"op": "subscribe", "channel": "a"}
    assert json.loads(encode_subscribe("a", Position("e", 7))) == {
        "op": "subscribe",
        "channel": "a",
        "since": {"epoch": "e", "offset": 7},
    }
    assert json.loads(encode_unsubscribe("a")) == {"op": "unsubscribe", "channel": "a"}


@pytest.mark.parametrize(
    ("data", "fields", "size_bytes"),
    [
        ("h\u00e9", {"data": "h\u00e9"}, 3),
        ({"a": [1, None]}, {"data": {"a": [1, None]}}, 14),
        (None, {"data": None}, 4),
        (b"\x00\xff", {"data": "AP8=", "encoding": "base64"}, 2),
        (bytearray(b"ab"), {"data": "YWI=", "encoding": "base64"}, 2),
        (memoryview(b"ab"), {"data": "YWI=", "encoding": "base64"}, 2),
    ],
)
def test_publishing(data: Any, fields: dict[str, Any], size_bytes: int) -> None:
    """Text and JSON go out as they are, bytes as base64; the size is that of the payload."""
    frame, size = encode_publish("a", data, key=None, request=3)
    assert json.loads(frame) == {"op": "publish", "channel": "a", "id": 3, **fields}
    assert size == size_bytes


def test_key_and_span_go_along() -> None:
    """Each is left out when there is none."""
    assert json.loads(encode_publish("a", 1, key="k", request=3)[0])["key"] == "k"
    fields = json.loads(encode_publish("a", 1, key=None, request=3, traceparent="00-1")[0])
    assert (fields["traceparent"], "key" in fields) == ("00-1", False)


@pytest.mark.parametrize("data", [{1: 2}, object(), 2**70, "\ud800", {"a": {1, 2}}])
def test_what_is_no_json_is_not_published(data: Any) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(PublishError, match="not JSON"):
        encode_publish("a", data, key=None, request=1)


def test_a_gap_as_a_sentence() -> None:
    """For the log."""
    assert str(Gap("a", "e", 1, 7, "slow")) == "a: 1 to 7 are missing of log e (slow)"
    assert "another log has taken its place; nothing is missing of log e" in str(Gap("a", "e", 1, 0, "epoch"))


@pytest.mark.parametrize(
    "frame",
    [
        encode_subscribe("a", None),
        encode_subscribe("a", Position("e", 7)),
        encode_unsubscribe("a"),
        encode_publish("a", "text", key=None, request=1)[0],
        encode_publish("a", {"b": [None]}, key="k", request=1)[0],
        encode_publish("a", b"\x00", key=None, request=1)[0],
    ],
)
def test_the_server_understands(frame: str) -> None:
    """What the client writes is what the server's models take, under the same name."""
    assert orjson.loads(frame)["op"] == parse_op(frame).op
    assert json_models.SUBPROTOCOL == SUBPROTOCOL


def test_a_message_knows_its_position() -> None:
    """To go on after it later."""
    assert Message("a", "e", 4, "x").position == Position("e", 4)

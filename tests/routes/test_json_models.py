from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fanwise.broadcaster.node import Node
from fanwise.core.publication import Kind
from fanwise.routes import json_models
from fanwise.routes.json_models import (
    MAX_CHARACTERS,
    AskPresence,
    Op,
    OpError,
    Publish,
    Since,
    Subscribe,
    Unsubscribe,
    UsualPublish,
    parse_op,
)

from .test_json_session import serving


def test_the_operations() -> None:
    """With and without what is optional."""
    assert parse_op('{"op":"subscribe","channel":"a"}') == Subscribe(op="subscribe", channel="a")
    assert parse_op('{"op":"subscribe","channel":"a","since":{"epoch":"e","offset":0}}') == Subscribe(
        op="subscribe", channel="a", since=Since(epoch="e", offset=0)
    )
    assert parse_op('{"op":"subscribe","channel":"a","presence":true}') == Subscribe(
        op="subscribe", channel="a", presence=True
    )
    assert parse_op('{"op":"presence","channel":"a"}') == AskPresence(op="presence", channel="a")
    assert parse_op('{"op":"unsubscribe","channel":"a"}') == Unsubscribe(op="unsubscribe", channel="a")
    assert parse_op('{"op":"publish","channel":"a","data":null}') == UsualPublish("a", data=None, id=None)
    given_all = parse_op('{"op":"publish","channel":"a","data":"AA==","id":7,"key":"k","encoding":"base64"}')
    assert given_all == Publish(op="publish", channel="a", data="AA==", id=7, key="k", encoding="base64")


LONG = "x" * (MAX_CHARACTERS + 1)
BAD: list[tuple[str | bytes, str, str]] = [
    ("{", "bad_json", "not JSON"),
    ("", "bad_json", "not JSON"),
    ('{"op":"publish","channel":"a","data":NaN}', "bad_json", "not JSON"),
    ("[]", "bad_json", "one JSON object"),
    ('"subscribe"', "bad_json", "one JSON object"),
    (b'{"op":"subscribe","channel":"a"}', "bad_json", "binary frame"),
    ("{}", "missing_field", "op: it is one of"),
    ('{"op":"dance"}', "unknown_op", "subscribe, unsubscribe, publish, authenticate and presence"),
    ('{"op":null}', "unknown_op", "subscribe, unsubscribe, publish, authenticate and presence"),
    ('{"op":"subscribe"}', "missing_field", "channel"),
    ('{"op":"publish","channel":"a"}', "missing_field", "data"),
    ('{"op":"subscribe","channel":"a","since":{"epoch":"e"}}', "missing_field", "since.offset"),
    ('{"op":"subscribe","channel":"a","sinc":1}', "unknown_field", "sinc"),
    ('{"op":"subscribe","channel":7}', "wrong_type", "channel"),
    ('{"op":"subscribe","channel":"a","since":7}', "wrong_type", "since"),
    ('{"op":"subscribe","channel":"a","since":{"epoch":"e","offset":"7"}}', "wrong_type", "since.offset"),
    ('{"op":"subscribe","channel":"a","since":{"epoch":"e","offset":-1}}', "wrong_type", "since.offset"),
    ('{"op":"publish","channel":"a","data":1,"id":true}', "wrong_type", "id"),
    (json.dumps({"op": "publish", "channel": "a", "data": 1, "key": LONG}), "wrong_type", "key"),
    (json.dumps({"op": "publish", "channel": "a", "data": 1, "id": LONG}), "wrong_type", "id"),
    ('{"op":"publish","channel":"a","data":1,"encoding":"hex"}', "wrong_type", "encoding"),
]


@pytest.mark.parametrize(("text", "code", "named"), BAD)
def test_a_bad_message_has_a_code_and_a_sentence(text: str | bytes, code: str, named: str) -> None:
    """The code is stable, the sentence names what is wrong."""
    with pytest.raises(OpError) as caught:
        parse_op(text, Kind.BINARY if isinstance(text, bytes) else Kind.TEXT)
    assert caught.value.code == code
    assert named in str(caught.value)


def test_an_error_says_which_message_it_is_about() -> None:
    """Its id and its channel, unless they are what is wrong with it."""
    for fields, about in (
        ({"id": "a1", "channel": "c"}, {"id": "a1", "channel": "c"}),
        ({"id": 0, "channel": 7}, {"id": 0}),
        ({"id": True, "channel": LONG}, {}),
        ({"id": LONG}, {}),
        ({"id": [1]}, {}),
    ):
        with pytest.raises(OpError) as caught:
            parse_op(json.dumps({"op": "publish", **fields}))
        assert caught.value.about == about


def refused(text: bytes) -> OpError:
    with pytest.raises(OpError) as caught:
        parse_op(text)
    return caught.value


def fields(count: int) -> bytes:
    return b",".join(b'"%05d":1' % number for number in range(count))


def test_many_fields_are_one_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is named, and no error is made of each: with 5,000 that took 7 ms."""
    monkeypatch.setattr(json_models, "_OPS", None)
    error = refused(b'{"op":"publish","id":7,"channel":"a","data":1,' + fields(5000) + b"}")
    assert (error.code, error.about) == ("unknown_field", {"id": 7, "channel": "a"})
    assert str(error) == "00000: unknown; there are op, channel, data, id, key, tags, encoding, echo, traceparent"
    error = refused(b'{"op":"subscribe","channel":"a","since":{"epoch":"e",' + fields(5000) + b"}}")
    assert str(error) == "00000: unknown; there are epoch, offset"


@pytest.mark.parametrize("op", ["publish", "dance"])
def test_an_error_does_not_send_back_what_is_long(op: str) -> None:
    """A field's name of 60,000 characters is cut."""
    error = refused(json.dumps({"op": op, "channel": "a", "data": 1, "x" * 60_000: 1}).encode())
    assert len(str(error)) < 200


@pytest.mark.anyio
async def test_a_session_does_not_parse_such_a_message() -> None:
    """Its answer is an error, and the connection lives."""
    async with serving(Node()) as live, await live.talk() as talk:
        await talk.websocket.send(b'{"op":"publish","channel":"a","data":1,%s}' % fields(30_000), text=True)
        answer = await talk.hear()
        assert (answer["op"], answer["code"]) == ("error", "too_big")
        assert (await talk.ask(op="publish", channel="a", data=1))["op"] == "published"


SCALARS = st.none() | st.booleans() | st.integers() | st.text()
# Small ones take a third of the time to make; what is deep is deep in a list of two.
VALUES = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=2) | st.dictionaries(st.text(), one, max_size=2), max_leaves=8
)
NEAR_PUBLISH = st.fixed_dictionaries(
    {},
    optional={
        "op": st.just("publish") | VALUES,
        "channel": st.text() | VALUES,
        "data": VALUES,
        "id": st.text() | st.sampled_from(["", LONG, LONG[1:], "\u00e9" * MAX_CHARACTERS, 2**63]) | VALUES,
        "key": st.none() | st.text(),
        "encoding": st.none() | st.just("base64"),
        "more": st.none(),
    },
)


@given(NEAR_PUBLISH)
def test_the_usual_publish_is_what_the_model_makes_of_it(message: dict[str, object]) -> None:
    """What is taken without the model, the model takes too, with the same values; what the model refuses is refused."""
    text = json.dumps(message)
    try:
        op = parse_op(text)
    except OpError:
        assert _accepted(text) is None
        return
    defaults = {name: field.default for name, field in Publish.model_fields.items()}  # the usual one has no such fields
    assert _accepted(text) == {name: getattr(op, name, default) for name, default in defaults.items()}


@pytest.mark.parametrize("given_id", [None, 7, "", "\u00e9" * MAX_CHARACTERS])
def test_the_usual_publish_needs_no_model(monkeypatch: pytest.MonkeyPatch, given_id: object) -> None:
    """With any id that is allowed, and without one."""
    text = json.dumps({"op": "publish", "channel": "a", "data": [1], "id": given_id})
    monkeypatch.setattr(json_models, "_OPS", None)
    assert parse_op(text) == UsualPublish("a", [1], given_id)  # type: ignore[arg-type]
    assert parse_op('{"op":"publish","channel":"a","data":[1]}') == UsualPublish("a", [1], None)


OPS: TypeAdapter[object] = TypeAdapter(Op)


def _accepted(text: str) -> dict[str, object] | None:
    """The fields of what the models make of a message; None where they refuse it."""
    try:
        model = OPS.validate_python(orjson.loads(text))
    except ValueError:
        return None
    return dict(model)  # type: ignore[call-overload, no-any-return]


@given(VALUES)
def test_nothing_but_an_op_error_comes_out(value: object) -> None:
    """Whatever a client sends."""
    subscribe = {"op": "subscribe", "channel": value}
    for message in (value, subscribe, {"op": "publish", "channel": "a", "data": 1, "id": value}):
        try:
            parse_op(json.dumps(message))
        except OpError as error:
            assert error.code  # noqa: PT017 - both ends are fine

from __future__ import annotations

import json

import orjson
import pytest

from fanwise.routes.json_models import OpError
from fanwise.routes.json_size import check_size, check_structure

from .test_json_models import fields


def test_a_message_with_more_structure_than_any_payload_is_too_big() -> None:
    """45,000 keys took 27 ms to parse. Long escapes, base64 and white space are no structure."""
    long = [
        json.dumps({"op": "publish", "channel": "a", "data": "\u00e9" * 32_768}),
        json.dumps({"op": "publish", "channel": "a", "data": '\\"' * 32_768}),
        json.dumps({"op": "publish", "channel": "a", "data": "A" * 87_384, "encoding": "base64"}),
        json.dumps({"op": "publish", "channel": "a", "data": [1] * 30_000}, indent=2),
    ]
    for text in long:
        check_size(text.encode(), max_bytes=65_536)
    escaped = fields(9_000) + b',"":"' + rb"\\u" * 30_000 + b'"'
    for body in (fields(45_000), escaped, b'"":"' + b"\n" * 400_000 + b'"'):
        with pytest.raises(OpError) as caught:
            check_size(b'{"op":"publish","channel":"a","data":1,' + body + b"}", max_bytes=65_536)
        assert caught.value.code == "too_big"


@pytest.mark.parametrize("unit", ["[[]],", "{},", "[1],", '[""],'])
def test_a_text_of_nothing_but_brackets_is_not_parsed(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation of 90 KB with 36,000 arrays held the loop for 4 ms."""
    monkeypatch.setattr(orjson, "loads", None)
    text = '{"op":"publish","channel":"a","data":[' + unit * (90_000 // len(unit)) + "0]}"
    with pytest.raises(OpError, match="arrays and objects; at most 150") as caught:
        check_structure(text.encode())
    assert caught.value.code == "too_big"


@pytest.mark.parametrize(
    "data",
    ["[" + "[1,2]," * 10_900 + "0]", '"' + "[" * 65_000 + '"', '"' + r"\"[" * 20_000 + '"', "[" + "[]," * 8_000 + "0]"],
    ids=["pairs", "brackets in a string", "behind escaped quotes", "few"],
)
def test_other_texts_may_have_any_structure(data: str) -> None:
    """Pairs of small numbers are the densest that is usual; what is in strings is not structure."""
    check_structure(f'{{"op":"publish","channel":"a","data":{data}}}'.encode())

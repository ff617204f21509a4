from __future__ import annotations

from typing import Any

import orjson
import pytest

from fanwise.routes.json_models import OpError, Publish, Subscribe, parse_op


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"tags": {"s": 1}}, "bad_tags"),
        ({"tags": ["s"]}, "wrong_type"),
        ({"tags": {"s" * 65: "x"}}, "bad_tags"),
        ({"tags": {"s": "x"}}, None),
        ({"tags": {}}, None),
    ],
)
def test_tags_of_an_operation_are_checked(more: dict[str, Any], code: str | None) -> None:
    """Names and values as in Python; the first mistake is named, however many there are."""
    check({"op": "publish", "channel": "c", "data": "x", **more}, code)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"filter": {"s": ["x", 1]}}, "bad_tags"),
        ({"filter": {"s": {"x": "y"}}}, "bad_tags"),
        ({"filter": {"s": []}}, "bad_tags"),
        ({"filter": "s:x"}, "wrong_type"),
        ({"filter": {"s": ["x", "y"], "v": "z"}}, None),
    ],
)
def test_filters_of_an_operation_are_checked(more: dict[str, Any], code: str | None) -> None:
    """Values or lists of values."""
    check({"op": "subscribe", "channel": "c", **more}, code)


def check(fields: dict[str, Any], code: str | None) -> None:
    if code is None:
        assert isinstance(parse_op(orjson.dumps(fields)), Publish | Subscribe)
        return
    with pytest.raises(OpError) as caught:
        parse_op(orjson.dumps(fields))
    assert caught.value.code == code

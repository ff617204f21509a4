from __future__ import annotations

from typing import Any

import pytest

from fanwise.client.fields import number_of, seconds_of, text_of


@pytest.mark.parametrize("value", [None, 1, [], {}])
def test_what_is_no_text(value: Any) -> None:
    """Strings only."""
    assert text_of({"a": "x"}, "a") == "x"
    with pytest.raises(TypeError, match="a is no string"):
        text_of({"a": value}, "a")


@pytest.mark.parametrize("value", [None, "1", 1.0, True])
def test_what_is_no_number(value: Any) -> None:
    """Integers only, and booleans are none."""
    assert number_of({"a": 7}, "a") == 7
    with pytest.raises(TypeError, match="a is no integer"):
        number_of({"a": value}, "a")


def test_seconds() -> None:
    """Whole or not; none are a time without end."""
    assert [seconds_of(fields, "a") for fields in ({"a": 3}, {"a": 0.5}, {"a": None}, {})] == [3, 0.5, None, None]
    wrong: tuple[Any, ...] = ("3", True, -1, [])
    for value in wrong:
        with pytest.raises(TypeError, match="no number of seconds"):
            seconds_of({"a": value}, "a")

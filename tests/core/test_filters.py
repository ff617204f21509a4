from __future__ import annotations

from typing import Any

import pytest

from fanwise.core.filters import MAX_TAGS, MAX_VALUES, as_filter, check_tags, one_each, read_tags
from fanwise.errors import TagError


@pytest.mark.parametrize(
    ("wanted", "tags", "passes"),
    [
        ({"symbol": "EUR"}, {"symbol": "EUR", "venue": "x"}, True),
        ({"symbol": "EUR"}, {"symbol": "eur"}, False),
        ({"symbol": "EUR"}, {"venue": "EUR"}, False),
        ({"symbol": "EUR"}, None, False),
        ({"symbol": ["EUR", "GBP"]}, {"symbol": "GBP"}, True),
        ({"symbol": ["EUR", "GBP"], "venue": "x"}, {"symbol": "GBP"}, False),
        ({"symbol": ["EUR", "GBP"], "venue": "x"}, {"symbol": "GBP", "venue": "x"}, True),
        ({"city": "Köln 🌍"}, {"city": "Köln 🌍"}, True),
    ],
)
def test_all_tags_of_a_filter_have_to_be_there(wanted: Any, tags: dict[str, str] | None, passes: bool) -> None:
    """Each with one of its values."""
    found = as_filter(wanted)
    assert found is not None
    assert found.lets_through(tags) is passes


def test_equal_filters_are_one() -> None:
    """However they are written."""
    assert as_filter({"a": "1", "b": ["2", "3"]}) == as_filter({"b": ("3", "2", "2"), "a": ["1"]})
    assert str(as_filter({"b": ["3", "2"], "a": "1"})) == "a:1 b:2 b:3"
    assert as_filter({}) is as_filter(None) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({str(number): "x" for number in range(1000)}, "8 tags at most"),
        ({"x" * 65: "x"}, "1 to 64 characters"),
        ({"": "x"}, "1 to 64 characters"),
        ({"a b": "x"}, "1 to 64 characters"),
        ({"a": "x" * 1_000_000}, "255 at most"),
        ({"a": "\ud800"}, "not Unicode"),
        ({"a": "x\ny"}, "control characters"),
        ({"a": 1}, "int"),
        ({1: "a"}, "'int'"),
        (["a"], "mapping"),
    ],
)
def test_what_is_no_tag_is_said(value: Any, said: str) -> None:
    """In tags and in filters, in few words however large it is."""
    for check in (check_tags, as_filter):
        with pytest.raises(TagError, match=said) as caught:
            check(value)
        assert len(str(caught.value)) < 250


def test_a_filter_has_few_values() -> None:
    """In all its tags together."""
    assert as_filter({"a": [str(number) for number in range(MAX_VALUES)]})
    for wanted in ({"a": [str(number) for number in range(33)]}, {"a": ["1"] * 17 + ["2"], "b": []}):
        with pytest.raises(TagError, match="values"):
            as_filter(wanted)
    many = {str(tag): [str(number) for number in range(5)] for tag in range(MAX_TAGS)}
    with pytest.raises(TagError, match="32 values at most; this one has 40"):
        as_filter(many)


def test_tags_of_urls_are_read() -> None:
    """A value may have colons; a publication has one value at a tag."""
    assert read_tags(["a:1", "a:2", "b:x:y", "c:"]) == {"a": ["1", "2"], "b": ["x:y"], "c": [""]}
    assert one_each(read_tags(["a:1", "b:2"])) == {"a": "1", "b": "2"}
    assert one_each({}) is None
    for texts in (["a"], ["a:1"] * 33):
        with pytest.raises(TagError):
            read_tags(texts)
    with pytest.raises(TagError, match="one value"):
        one_each(read_tags(["a:1", "a:2"]))

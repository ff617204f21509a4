"""Tags and filters: what a publication is about, and which publications a client wants. Bounded in number and size."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from ..errors import TagError

Tags: TypeAlias = Mapping[str, str]
"""{tag: value}: what a publication is about."""
Wanted: TypeAlias = "Mapping[str, str | Collection[str]] | Filter | None"
"""{tag: the value, or the values, that a publication may have there}: a filter as applications write it."""

MAX_TAGS: Final = 8  # of a publication, or of a filter
MAX_NAME_CHARACTERS: Final = 64
MAX_VALUE_CHARACTERS: Final = 255
MAX_VALUES: Final = 32  # of a filter, in all its tags
MAX_FILTERS: Final = 100  # that the clients of one channel may have at a time, equal ones counted once
ADDRESS_FILTERS: Final = 50  # of those, of the clients of one address
LOOK_BACK: Final = 4_096  # publications among which the last ones are looked for that a filter lets through
_TAG_BYTES: Final = 232  # of a dict with a few entries, in CPython
_CHARACTER_BYTES: Final = 4  # at most, in CPython
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Filter(NamedTuple):
    """Which publications a client wants: those that have one of the values at each tag. Equal filters are equal.

    Attributes:
        wanted: The tags with their values, sorted by the tag.
    """

    wanted: tuple[tuple[str, frozenset[str]], ...]

    def lets_through(self, tags: Tags | None) -> bool:
        """Returns whether a publication with these tags is wanted. O(tags of the filter)."""
        if tags is None:
            return False
        for name, values in self.wanted:  # noqa: SIM110 - called for each publication and each filter
            if tags.get(name) not in values:
                return False
        return True

    def __str__(self) -> str:
        return " ".join(f"{name}:{value}" for name, values in self.wanted for value in sorted(values))


def check_tags(tags: Any) -> Tags | None:
    """Returns a copy of tags that are allowed; None for none.

    Raises:
        TagError: They are not at most 8 names of 1 to 64 characters with values of at most 255 characters.
    """
    if tags is None:
        return None
    if not isinstance(tags, Mapping):
        raise TagError(f"tags are a mapping of names to values, such as {{'symbol': 'EUR'}}, not {type(tags).__name__}")
    if len(tags) > MAX_TAGS:
        raise TagError(f"a publication has {MAX_TAGS} tags at most; this one has {len(tags)}")
    return {_check_name(name): _check_value(name, value) for name, value in tags.items()} or None


def tags_bytes(tags: Tags) -> int:
    """Returns what tags take in memory, at most."""
    return _TAG_BYTES + _CHARACTER_BYTES * sum(len(name) + len(value) for name, value in tags.items())


def as_filter(wanted: Wanted) -> Filter | None:
    """Returns the filter of {tag: value or values}; None if that is empty, as every publication is wanted then.

    Raises:
        TagError: There are more than 8 tags or 32 values, or one of them is not allowed.
    """
    if wanted is None or isinstance(wanted, Filter):
        return wanted
    if not isinstance(wanted, Mapping):
        raise TagError(
            f"a filter is a mapping of tags to values, such as {{'symbol': 'EUR'}}, not {type(wanted).__name__}"
        )
    if len(wanted) > MAX_TAGS:
        raise TagError(f"a filter has {MAX_TAGS} tags at most; this one has {len(wanted)}")
    return _made({_check_name(name): _values(name, values) for name, values in wanted.items()})


def read_tags(texts: Iterable[str], what: str = "tag") -> dict[str, list[str]]:
    """Returns {tag: values} of texts like "symbol:EUR", as they stand in URLs.

    Raises:
        TagError: A text has no colon, or there are more than 32.
    """
    found: dict[str, list[str]] = {}
    for number, text in enumerate(texts):
        name, colon, value = text.partition(":")
        if not colon:
            raise TagError(f"{what}={text[:80]!r} is not allowed: it looks like {what}=symbol:EUR")
        if number >= MAX_VALUES:
            raise TagError(f"{what}= is given more than {MAX_VALUES} times")
        found.setdefault(name, []).append(value)
    return found


def one_each(tags: dict[str, list[str]]) -> Tags | None:
    """Returns the tags of a publication. Raises TagError for a tag with two values, and what `check_tags` raises."""
    for name, values in tags.items():
        if len(values) > 1:
            raise TagError(f"a publication has one value at a tag; {name[:MAX_NAME_CHARACTERS]!r} has {len(values)}")
    return check_tags({name: values[0] for name, values in tags.items()})


def _made(wanted: dict[str, frozenset[str]]) -> Filter | None:
    count = sum(map(len, wanted.values()))
    if count > MAX_VALUES:
        raise TagError(f"a filter has {MAX_VALUES} values at most; this one has {count}")
    return Filter(tuple(sorted(wanted.items(), key=lambda item: item[0]))) if wanted else None


def _values(name: str, values: Any) -> frozenset[str]:
    if isinstance(values, str):
        return frozenset((_check_value(name, values),))
    if not isinstance(values, (list, tuple, set, frozenset)):
        raise TagError(f"tag {name!r} of a filter has a value or a list of values, not {type(values).__name__}")
    if not 0 < len(values) <= MAX_VALUES:
        raise TagError(f"tag {name!r} of a filter has 1 to {MAX_VALUES} values, not {len(values)}")
    return frozenset(_check_value(name, value) for value in values)


def _check_name(name: Any) -> str:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        shown = repr(name[:MAX_NAME_CHARACTERS] if isinstance(name, str) else type(name).__name__)
        raise TagError(
            f"tag {shown} is not allowed: it takes 1 to {MAX_NAME_CHARACTERS} characters of A-Z a-z 0-9 . _ -"
        )
    return name


def _check_value(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TagError(f"tag {name!r} has a value of type {type(value).__name__}: it takes a string")
    if len(value) > MAX_VALUE_CHARACTERS:
        problem = f"tag {name!r} has a value of {len(value)} characters: it takes {MAX_VALUE_CHARACTERS} at most"
        raise TagError(problem)
    if _CONTROL.search(value) is not None:
        raise TagError(f"tag {name!r} has a value with control characters, which are not allowed")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise TagError(f"tag {name!r} has a value that is not Unicode text: {error}") from error
    return value

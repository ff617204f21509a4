"""Channel options: what an application, or its settings, say about one channel or about many.

Patterns name channels: a name, the beginning of names with `*` behind (`cursor.*`), or a name with `*` elsewhere
(`room.*.chat`). The first pattern that matches a name holds for that channel, alone: options do not add up.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Self, TypeAlias

import orjson

from ..errors import OptionsError, shorten

ANY: Final = "*"
MOST_STARS: Final = 4  # in a pattern: strangers choose the names that are compared with it
TEXT: Final = "{text}"
OverflowName: TypeAlias = Literal["disconnect", "drop_oldest", "latest"]
Creator: TypeAlias = Literal["anybody", "operators", "nobody"]
_CHOICES: Final = {
    "overflow": ("disconnect", "drop_oldest", "latest"),
    "create": ("anybody", "operators", "nobody"),
}
_LEAST: Final = {"queue_messages": 1, "queue_bytes": 1, "history_messages": 0, "history_bytes": 0, "max_subscribers": 1}
_MOST_SECONDS: Final = 315_360_000.0  # ten years
_MOST: Final = 1 << 53
_MOST_PROBLEMS: Final = 20  # that an error names
_PATTERN: Final = re.compile(r"[A-Za-z0-9._:/*-]{1,255}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelOptions:
    """Options of the channels that a pattern names. None is for what the broadcaster's own arguments say.

    Args:
        overflow: The policy for a client that is further behind: "disconnect", "drop_oldest" or "latest".
        queue_messages: Publications that a client may be behind.
        queue_bytes: Payload bytes that a client may be behind.
        forgive_seconds: The age of the oldest publication that a client has not got; `math.inf`: unlimited.
        history_messages: Publications that the channel's log retains, at least, for those who come later. With 0 they
            get nothing that was published before: no resume, no history.
        history_bytes: Payload bytes that the log retains, at least; 0 is for no history, too.
        history_seconds: For how long publications, and channels without clients, are kept.
        create: Who may open a channel that does not exist: "anybody"; "operators" (those who bring a key, and the
            application itself); or "nobody": such a channel has to have an entry with its whole name.
        presence: Whether users may ask who is on the channel.
        presence_events: Whether they may ask for an event when one joins or leaves; never without `presence`.
        max_subscribers: The most clients on the channel; None: unlimited. Behind a backplane each worker counts its
            own.
        publishes_per_second: The most publications of one client to all channels of the pattern; None: unlimited.
        template: A text of the plain dialect is published in it, in place of "{text}".

    Raises:
        OptionsError: A value is not allowed.
    """

    overflow: OverflowName | None = None
    queue_messages: int | None = None
    queue_bytes: int | None = None
    forgive_seconds: float | None = None
    history_messages: int | None = None
    history_bytes: int | None = None
    history_seconds: float | None = None
    create: Creator = "anybody"
    presence: bool = True
    presence_events: bool = True
    max_subscribers: int | None = None
    publishes_per_second: float | None = None
    template: str | None = None

    def __post_init__(self) -> None:
        """Checks the values."""
        problems = [problem for one in fields(self) if (problem := _problem(one.name, getattr(self, one.name)))]
        if problems:
            raise OptionsError(problems)

    @classmethod
    def of(cls, table: object) -> Self:
        """Returns the options in a table of TOML, or in an object of JSON.

        Raises:
            OptionsError: The table has a key that options do not have, or a value is not allowed.
        """
        if not isinstance(table, Mapping):
            raise OptionsError([f"options are a table, not {table!r:.64}"])
        problems = [_unknown(key, value) for key, value in table.items() if key not in _NAMES]
        if problems:
            raise OptionsError(problems)
        return cls(**table)

    def given(self) -> dict[str, Any]:
        """Returns the options that differ from their defaults."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) != one.default}


_NAMES: Final = tuple(one.name for one in fields(ChannelOptions))


def read_channels(value: Any) -> dict[str, ChannelOptions]:
    """Returns {pattern: options} of a table of TOML, or of an object of JSON or its text.

    Raises:
        OptionsError: It is neither; or a pattern, a key or a value is not allowed.
    """
    if isinstance(value, str | bytes):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise OptionsError([f"it is not JSON: {error}"]) from error
    if not isinstance(value, Mapping):
        raise OptionsError(["it takes an object: patterns, each with its options in an object"])
    found: dict[str, ChannelOptions] = {}
    problems: list[str] = []
    for pattern, options in value.items():
        try:
            given = options if isinstance(options, ChannelOptions) else ChannelOptions.of(options)
            found[check_pattern(pattern)] = given
        except OptionsError as error:
            problems += [f"channels {shorten(str(pattern))}: {problem}" for problem in error.problems]
    if problems:
        raise OptionsError(problems[:_MOST_PROBLEMS])
    return found


def check_pattern(pattern: object) -> str:
    """Returns `pattern` if names of channels can match. Raises OptionsError otherwise."""
    if isinstance(pattern, str) and _PATTERN.fullmatch(pattern) and 2 * ANY not in pattern:
        if pattern.count(ANY) <= MOST_STARS:
            return pattern
        raise OptionsError([f"pattern {shorten(pattern)} has {pattern.count(ANY)} {ANY}, {MOST_STARS} are allowed"])
    problem = "it takes 1 to 255 characters of A-Z a-z 0-9 . _ : / - as names do, and * for any number of them"
    raise OptionsError([f"pattern {shorten(str(pattern))} is not allowed: {problem}"])


def _problem(name: str, value: Any) -> str:
    """Returns what is wrong with the value of an option; empty for nothing."""
    if name in _CHOICES:
        bad = value not in _CHOICES[name] and not (value is None and name == "overflow")
        wanted = f"one of {', '.join(_CHOICES[name])}"
    elif name in ("presence", "presence_events"):
        bad, wanted = not isinstance(value, bool), "true or false"
    elif value is None:
        return ""
    elif name == "template":
        bad = not isinstance(value, str) or value.count(TEXT) != 1
        wanted = f"a text that contains {TEXT} exactly once"
    elif name in _LEAST:
        bad = isinstance(value, bool) or not isinstance(value, int) or not _LEAST[name] <= value <= _MOST
        wanted = f"a whole number from {_LEAST[name]} on"
    else:
        unlimited = value == math.inf and name == "forgive_seconds"
        number = isinstance(value, int | float) and not isinstance(value, bool)
        bad = not unlimited and not (number and 0 < value <= _MOST_SECONDS)
        wanted = "a number above 0" + (", or inf for unlimited" if name == "forgive_seconds" else "")
    return f"{name} is {value!r:.64}: it takes {wanted}" if bad else ""


def _unknown(key: object, value: object) -> str:
    close = difflib.get_close_matches(str(key)[:64].replace("-", "_"), _NAMES, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    dots = '; a pattern with dots takes quotes, as in [channels."cursor.*"]' if isinstance(value, Mapping) else ""
    return f"{shorten(str(key))} is no option: {hint}allowed are {', '.join(_NAMES)}{dots}"

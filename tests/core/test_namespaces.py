from __future__ import annotations

import math
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.core.namespaces import MOST_TIMES, MOST_WILD_PATTERNS, Defaults, Namespaces
from fanwise.core.options import ChannelOptions
from fanwise.core.queue import Overflow
from fanwise.errors import OptionsError

DEFAULTS = Defaults(queue_messages=100, queue_bytes=1000, history_messages=50, history_bytes=500, history_seconds=60.0)
NAMES = st.text("ab.", min_size=1, max_size=8)
PATTERNS = st.text("ab.*", min_size=1, max_size=5).filter(lambda text: "**" not in text)


def made(**channels: ChannelOptions) -> Namespaces:
    return Namespaces({name.replace("_", "."): options for name, options in channels.items()}, DEFAULTS)


def test_the_first_match_wins_alone() -> None:
    """Options of several patterns do not add up; without a match the broadcaster's own hold."""
    options = {
        "cursor.me": ChannelOptions(queue_messages=1),
        "room.*.chat": ChannelOptions(queue_messages=2),
        "cursor.*": ChannelOptions(overflow="latest", history_messages=0),
        "room.*": ChannelOptions(queue_messages=4, forgive_seconds=5),
    }
    found = Namespaces(options, DEFAULTS)
    patterns = {name: found.of(name).pattern for name in ("cursor.me", "cursor.you", "room.1.chat", "room.1", "lobby")}
    assert patterns == {
        "cursor.me": "cursor.me",
        "cursor.you": "cursor.*",
        "room.1.chat": "room.*.chat",
        "room.1": "room.*",
        "lobby": None,
    }
    mine, yours, lobby = found.of("cursor.me"), found.of("cursor.you"), found.of("lobby")
    assert (mine.overflow, mine.queue_messages, mine.history_messages) == (Overflow.DISCONNECT, 1, 50)
    assert (yours.overflow, yours.queue_messages, yours.history_messages) == (Overflow.LATEST, 100, 0)
    assert (lobby.queue_messages, lobby.forgive_seconds, lobby.max_subscribers) == (100, math.inf, math.inf)
    assert found.forgive
    assert found.of("room.1").forgive_seconds == 5


@given(patterns=st.lists(PATTERNS, unique=True, max_size=6), name=NAMES)
def test_the_table_finds_what_a_list_would(patterns: list[str], name: str) -> None:
    """One after another, as far as each pattern is reached."""
    reached: dict[str, ChannelOptions] = {}
    for pattern in patterns:
        try:
            Namespaces({**reached, pattern: ChannelOptions()}, DEFAULTS)
        except OptionsError:
            continue
        reached[pattern] = ChannelOptions()
    expected = next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)
    assert Namespaces(reached, DEFAULTS).of(name).pattern == expected


def test_a_pattern_that_is_never_reached_is_an_error() -> None:
    """A wider one stands before it."""
    for first, second in (("*", "lobby"), ("chat.*", "chat.a.*"), ("a*c", "abc"), ("chat.*", "chat.*.x")):
        with pytest.raises(OptionsError, match=r"is never reached: .* stands before it"):
            Namespaces({first: ChannelOptions(), second: ChannelOptions()}, DEFAULTS)
        assert len(list(Namespaces({second: ChannelOptions(), first: ChannelOptions()}, DEFAULTS))) == 3


def test_presence_has_no_events_without_itself() -> None:
    """The events are of what can be asked for."""
    found = made(a=ChannelOptions(presence=False), b=ChannelOptions(presence_events=False))
    assert [(one.presence, one.presence_events) for one in map(found.of, "abc")] == [
        (False, False),
        (True, False),
        (True, True),
    ]


def test_what_does_not_fit_names_its_pattern() -> None:
    """A channel into the memory, a message into a queue, and a rule to a name."""
    found = made(
        a=ChannelOptions(queue_bytes=9), b=ChannelOptions(history_bytes=5000), c=ChannelOptions(create="nobody")
    )
    with pytest.raises(OptionsError) as caught:
        found.check(memory_bytes=4000, max_message_bytes=10)
    assert caught.value.problems == [
        "channels 'a': max_message_bytes=10 does not fit into queue_bytes=9",
        "channels 'b': memory_bytes=4000 is less than the 10000 that one channel may retain",
        "channels 'c': create=\"nobody\" takes a pattern with *: a channel with an entry of its own may be opened",
    ]


def test_the_table_is_bounded() -> None:
    """In patterns whose cost adds up for each new name, and in the times that audits look after."""
    wild = {f"{number}*x": ChannelOptions() for number in range(MOST_WILD_PATTERNS + 1)}
    with pytest.raises(OptionsError, match="elsewhere than at the end"):
        Namespaces(wild, DEFAULTS)
    times = {f"{number}": ChannelOptions(history_seconds=number) for number in range(1, MOST_TIMES + 2)}
    with pytest.raises(OptionsError, match="different values"):
        Namespaces(times, DEFAULTS)


def test_channels_kept_for_equally_long_share_a_shelf() -> None:
    """Whatever else their options say."""
    found = made(a=ChannelOptions(history_seconds=5), b=ChannelOptions(history_seconds=5), c=ChannelOptions())
    a, b, c = map(found.of, "abc")
    assert a.shelf is b.shelf
    assert c.shelf is found.default.shelf
    assert len(found.shelves) == 2 + 1  # and that of our own programs

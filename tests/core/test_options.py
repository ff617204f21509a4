from __future__ import annotations

import math

import pytest

from fanwise import ChannelOptions
from fanwise.core.options import check_pattern
from fanwise.errors import OptionsError


def test_options_say_nothing_by_default() -> None:
    """What is not given is left to the broadcaster's own arguments."""
    assert ChannelOptions().given() == {}
    options = ChannelOptions.of({"overflow": "latest", "history_messages": 0, "forgive_seconds": math.inf})
    assert options == ChannelOptions(overflow="latest", history_messages=0, forgive_seconds=math.inf)
    assert options.given() == {"overflow": "latest", "forgive_seconds": math.inf, "history_messages": 0}


@pytest.mark.parametrize(
    ("wrong", "allowed"),
    [
        ({"overflow": "newest"}, "overflow is 'newest': it takes one of disconnect, drop_oldest, latest"),
        ({"queue_messages": 0}, "queue_messages is 0: it takes a whole number from 1 on"),
        ({"queue_bytes": True}, "queue_bytes is True"),
        ({"history_messages": -1}, "history_messages is -1: it takes a whole number from 0 on"),
        ({"history_bytes": 1 << 60}, "history_bytes is"),
        ({"history_seconds": math.inf}, "history_seconds is inf: it takes a number above 0"),
        ({"forgive_seconds": math.nan}, "or inf for unlimited"),
        ({"create": None}, "create is None: it takes one of anybody, operators, nobody"),
        ({"presence": "no"}, "presence is 'no': it takes true or false"),
        ({"publishes_per_second": 0}, "publishes_per_second is 0"),
        ({"template": "no text"}, "template is 'no text': it takes a text that contains {text} exactly once"),
        ({"overflows": "latest"}, "'overflows' is no option: did you mean overflow? allowed are overflow, queue_messa"),
        ({"queue-bytes": 5}, "did you mean queue_bytes?"),
        ({"x": {"overflow": "latest"}}, 'a pattern with dots takes quotes, as in [channels."cursor.*"]'),
        (["overflow"], "options are a table, not ['overflow']"),
    ],
)
def test_an_error_names_what_is_allowed(wrong: object, allowed: str) -> None:
    """Of each option, and of keys that are none."""
    with pytest.raises(OptionsError) as caught:
        ChannelOptions.of(wrong)
    assert allowed in str(caught.value)


@pytest.mark.parametrize("pattern", ["", "a b", "ä", "a**", "x" * 256, 7, "a?", "a\n"])
def test_a_pattern_that_no_name_can_match_is_refused(pattern: object) -> None:
    """Names have few characters; `*` stands for any number of them, once at a place."""
    with pytest.raises(OptionsError, match="1 to 255 characters"):
        check_pattern(pattern)
    assert check_pattern("room.*.chat/*") == "room.*.chat/*"
    with pytest.raises(OptionsError, match=r"has 5 \*, 4 are allowed"):
        check_pattern("a*b*c*d*e*")

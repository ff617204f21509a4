from __future__ import annotations

import re

import pytest

from fanwise.tools.doctor.findings import Level
from fanwise.tools.doctor.keepalive import slow_reader


@pytest.mark.parametrize(
    ("hidden_bytes", "pong_seconds", "rate", "level"),
    [
        (168_000, 8, "21 KB/s", Level.OK),
        (480_000, 8, "60 KB/s", Level.OK),
        (4_300_000, 8, "538 KB/s", Level.WARN),
        (4_300_000, 80, "53.8 KB/s", Level.OK),
        (0, 8, "0 B/s", Level.OK),
    ],
)
def test_how_slow_a_reader_may_be(hidden_bytes: int, pong_seconds: float, rate: str, level: Level) -> None:
    """What hides in front of a ping has to be read while its pong is waited for."""
    found = slow_reader(hidden_bytes=hidden_bytes, ping_seconds=15, pong_seconds=pong_seconds, skips=False)
    assert found.level is level
    assert f"a client that reads less than {rate} may be ended after" in found.found


def test_it_says_after_what_time() -> None:
    """The ping comes, and then the patience."""
    assert "after 23 s" in slow_reader(hidden_bytes=1, ping_seconds=15, pong_seconds=8, skips=False).found


def test_the_fix_is_long_enough() -> None:
    """Whoever does as told is not told again."""
    fix = slow_reader(hidden_bytes=4_300_000, ping_seconds=15, pong_seconds=8, skips=False).fix
    match = re.search(r"--pong-seconds to (\d+)", fix)
    assert match is not None
    enough = int(match[1])
    assert slow_reader(hidden_bytes=4_300_000, ping_seconds=15, pong_seconds=enough, skips=False).level is Level.OK


def test_a_reader_whose_queue_skips_is_safe() -> None:
    """However slow it is."""
    found = slow_reader(hidden_bytes=4_300_000, ping_seconds=15, pong_seconds=8, skips=True)
    assert found.level is Level.OK
    assert "stays while its kernel answers" in found.found

from __future__ import annotations

from itertools import islice, takewhile

import pytest

from fanwise.tools.bench.load.pace import times
from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.load.recording import Message, Recording

SECOND = 10**9


def test_a_rate() -> None:
    """Over all channels, which take turns."""
    plan = Plan(url="ws://h/", channels=2, rate=4.0)
    assert list(islice(times(plan, 0, 100), 3)) == [100, 100 + SECOND // 2, 100 + SECOND]
    assert list(islice(times(plan, 1, 100), 2)) == [100 + SECOND // 4, 100 + SECOND * 3 // 4]


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_bursts(channels: int) -> None:
    """So many messages at once over all channels, also where the division leaves a rest."""
    plan = Plan(url="ws://h/", channels=channels, burst_messages=5, every_seconds=2.0)
    found = [list(takewhile(lambda at: at < 4 * SECOND, times(plan, channel, 0))) for channel in range(channels)]
    assert sorted(at for each in found for at in each) == [0] * 5 + [2 * SECOND] * 5


def test_a_recording() -> None:
    """At the times that it names, however many there are at one."""
    messages = (Message(0.0, 50), Message(0.25, 50), Message(0.25, 50))
    recording = Recording(channels=((), messages), readers=(), healthy=1, seconds=1.0)
    plan = Plan(url="ws://h/", channels=2, recording=recording, rate=9.0)
    assert (list(times(plan, 0, 100)), list(times(plan, 1, 100))) == ([], [100, 100 + SECOND // 4, 100 + SECOND // 4])


def test_bursts_beside_a_rate() -> None:
    """In the order of time."""
    plan = Plan(url="ws://h/", rate=1.0, burst_messages=2, every_seconds=1.5)
    found = list(islice(times(plan, 0, 0), 7))
    assert found == [0, 0, 0, SECOND, SECOND * 3 // 2, SECOND * 3 // 2, 2 * SECOND]

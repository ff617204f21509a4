from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fanwise.transport import keep_alive
from fanwise.transport.keep_alive import KeepAlive

from ..support.live import until

pytestmark = pytest.mark.anyio


class Peer:
    """A connection that answers pings while it is told to."""

    def __init__(self, *, answers: bool = True, waits: bool = False, stays: bool = False) -> None:
        self.place: int | None = None
        self.asked = b""
        self.asked_at = 0.0
        self.pings: list[bytes] = []
        self.missed = 0
        self.answers = answers
        self.waits = waits
        self.stays = stays

    def ping(self, payload: bytes) -> None:
        self.pings.append(payload)
        if self.answers:
            self.asked = b""

    def waits_for_peer(self) -> bool:
        return self.waits

    def no_pong(self) -> bool:
        self.missed += 1
        return self.stays


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_alive, "PONG_GRACE_SECONDS", 0.02)


async def test_who_answers_is_asked_again_and_again() -> None:
    """With another payload each time; who has left is not."""
    alive = KeepAlive(asyncio.get_running_loop(), interval_seconds=0.02, timeout_seconds=0.01)
    stays, leaves = Peer(), Peer()
    alive.add(stays)
    alive.add(leaves)
    await until(lambda: len(leaves.pings) >= 1)
    alive.remove(leaves)
    alive.remove(leaves)
    asked = len(leaves.pings)
    await until(lambda: len(stays.pings) >= asked + 4)
    alive.remove(stays)
    assert len(set(stays.pings)) == len(stays.pings)
    assert (len(leaves.pings), stays.missed, leaves.missed) == (asked, 0, 0)
    await until(lambda: not alive._running)


async def test_who_does_not_answer_is_missed() -> None:
    """Once for each ping, after a time of grace, and not before the connection could have answered."""
    alive = KeepAlive(asyncio.get_running_loop(), interval_seconds=0.02, timeout_seconds=0.01)
    silent, held = Peer(answers=False), Peer(answers=False, waits=True)
    alive.add(silent)
    alive.add(held)
    await until(lambda: silent.missed >= 1)
    assert len(silent.pings) - silent.missed in (0, 1)  # it may have been asked again
    assert held.missed == 0
    held.waits = False
    await until(lambda: held.missed >= 1)
    assert len(held.pings) - held.missed in (0, 1)
    alive.remove(silent)
    alive.remove(held)
    await until(lambda: not alive._running)


async def test_who_stays_has_as_much_time_again() -> None:
    """As often as it is missed, without another ping; when it has answered, it is asked anew."""
    alive = KeepAlive(asyncio.get_running_loop(), interval_seconds=0.02, timeout_seconds=0.01)
    paused = Peer(answers=False, stays=True)
    alive.add(paused)
    await until(lambda: paused.missed >= 3)
    assert len(paused.pings) == 1
    paused.answers, paused.asked = True, b""
    await until(lambda: len(paused.pings) == 3)
    missed = paused.missed
    await until(lambda: len(paused.pings) == 5)
    assert paused.missed == missed
    alive.remove(paused)
    await until(lambda: not alive._running)


async def test_those_who_came_together_are_asked_and_missed_some_at_a_time() -> None:
    """Another callback of the loop comes between: a thousand pings in one turn hold it for 10 ms."""
    loop = asyncio.get_running_loop()
    alive = KeepAlive(loop, interval_seconds=0.02, timeout_seconds=0.01)
    peers = [Peer(answers=False) for _ in range(3 * keep_alive.AT_ONCE)]
    for peer in peers:
        alive.add(peer)
    counts: list[Callable[[Peer], int]] = [lambda peer: len(peer.pings), lambda peer: peer.missed]
    for count in counts:
        seen: list[int] = []
        while not seen or seen[-1] < len(peers):
            seen.append(sum(map(count, peers)))
            await asyncio.sleep(0)
        assert sorted(set(seen)) == [0, *(keep_alive.AT_ONCE * times for times in (1, 2, 3))]
    for peer in peers:
        alive.remove(peer)
    await until(lambda: not alive._running)


@pytest.mark.parametrize("interval", [None, 0.0])
async def test_without_an_interval_nobody_is_asked(interval: float | None) -> None:
    """As uvicorn has it."""
    alive = KeepAlive(asyncio.get_running_loop(), interval_seconds=interval, timeout_seconds=0.01)
    peer = Peer()
    alive.add(peer)
    assert (peer.place, alive._running) == (None, False)


async def test_without_a_timeout_nobody_is_missed() -> None:
    """Who has not answered is not asked again."""
    alive = KeepAlive(asyncio.get_running_loop(), interval_seconds=0.01, timeout_seconds=None)
    silent, answers = Peer(answers=False), Peer()
    alive.add(silent)
    alive.add(answers)
    await until(lambda: len(answers.pings) >= 5)
    assert (len(silent.pings), silent.missed) == (1, 0)
    alive.remove(silent)
    alive.remove(answers)
    await until(lambda: not alive._running)

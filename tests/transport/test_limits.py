from __future__ import annotations

import math
from typing import Any

import pytest

from fanwise.transport.limits import BUDGET, Budget, Limits, budget_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def budget(clock: Clock, **rates: Any) -> Budget:
    return Budget(Limits(**rates), clock=clock)


def receive(books: Budget, *, messages: int = 0, size: int = 0, control_frames: int = 0) -> float:
    books.messages -= messages
    books.bytes -= size
    return books.pause_seconds(control_frames=control_frames)


def test_a_burst_is_not_paced_and_a_debt_is_waited_for() -> None:
    """The pause is as long as the debt takes at the rate, and no connection is a flood for its messages or bytes."""
    clock = Clock()
    books = budget(clock, messages_per_second=100, bytes_per_second=1000)
    assert receive(books, messages=200, size=2000) == 0
    assert receive(books, messages=50) == 0.5
    assert receive(books, size=3000) == 3.0
    for _ in range(100):
        assert receive(books, messages=100, size=1000) < math.inf
    clock.now += 1000
    assert receive(books) == 0


def test_a_rate_holds_on_average() -> None:
    """A peer that sends as soon as its pause is over sends its rate, after the first burst."""
    clock, sent = Clock(), 0
    books = budget(clock, messages_per_second=1000)
    while clock.now < 1100:
        sent += 64
        clock.now += receive(books, messages=64)
    assert sent == pytest.approx(1000 * 102, rel=0.02)


@pytest.mark.parametrize("at_once", [1, 128])
def test_control_frames_pause_a_connection_three_times_and_are_a_flood_then(at_once: int) -> None:
    """However they are cut into reads; within half a second."""
    clock = Clock()
    books, pauses = budget(clock, control_frames_per_second=100), 0
    for _ in range(10_000):
        seconds = receive(books, control_frames=at_once)
        if seconds == math.inf:
            break
        pauses += seconds > 0
        clock.now += seconds
    assert pauses == 3
    assert clock.now < 1000.5


def test_control_frames_within_their_rate_never_pause() -> None:
    """Nor do messages that come while the debt of control frames is being paid."""
    clock = Clock()
    books = budget(clock, control_frames_per_second=100)
    for _ in range(5000):
        assert receive(books, control_frames=1) == 0
        clock.now += 0.01
    for _ in range(3):
        while not receive(books, control_frames=100):
            pass
        assert receive(books, messages=1) == 0
        clock.now += 60


def test_pongs_have_a_rate() -> None:
    """A hundred at once, and fifty in each second after them."""
    clock = Clock()
    books = budget(clock)
    assert sum(books.pong() for _ in range(1000)) == 100
    clock.now += 1
    assert sum(books.pong() for _ in range(1000)) == 50


def test_publishes_and_subscriptions_wait_once_they_are_too_many() -> None:
    """Each for its own rate."""
    clock = Clock()
    books = budget(clock, publishes_per_second=100, subscriptions_per_second=10)
    assert books.publish(200) == 0
    assert books.publish(100) == 1.0
    assert [books.subscribe() for _ in range(20)] == [0.0] * 20
    assert books.subscribe() == pytest.approx(0.1)
    clock.now += 10
    assert (books.publish(), books.subscribe()) == (0, 0)


def test_rates_can_be_switched_off() -> None:
    """Nothing is paced then, whatever the rates say."""
    books = Budget(Limits(rates=False, messages_per_second=1))
    assert receive(books, messages=10**9, size=10**12, control_frames=10**9) == 0
    assert (books.publish(10**9), books.subscribe(10**9), books.pong()) == (0, 0, True)


def test_a_scope_has_the_budget_of_its_connection() -> None:
    """Without our protocol classes it is unlimited."""
    books = Budget(Limits())
    assert budget_of({"extensions": {BUDGET: books}}) is books
    assert budget_of({"extensions": None}).publish(10**9) == 0
    assert budget_of({}).publish(10**9) == 0

from __future__ import annotations

import asyncio

import pytest

from fanwise.backplane.counts import Counts
from fanwise.backplane.port import Outgoing
from fanwise.backplane.together import Together
from fanwise.backplane.waiting import WAITING_MESSAGES, WaitingRoom
from fanwise.core.publication import Kind, Position
from fanwise.errors import BackplaneDownError, UnconfirmedError

pytestmark = pytest.mark.anyio


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
async def room(counts: Counts) -> WaitingRoom:
    return WaitingRoom(asyncio.get_running_loop(), publish_seconds=60.0, counts=counts)


def enter(room: WaitingRoom, count: int) -> asyncio.Future[Position]:
    together = Together(asyncio.get_running_loop(), count)
    futures = {room.enter(Outgoing("lobby", b"x", Kind.TEXT), together) for _ in range(count)}
    assert futures == {together.future}
    return together.future


async def test_all_have_to_be_published(room: WaitingRoom, counts: Counts) -> None:
    """Also where they are sent in several frames: the first one's answer is not that of all."""
    future = enter(room, 200)
    answered = 0
    while (frame := room.next_frame()) is not None:
        assert not future.done()
        room.settle([Position("e", answered + place) for place in range(1, len(frame.waiting) + 1)])
        answered += len(frame.waiting)
    assert (future.result(), answered, counts.published) == (Position("e", 200), 200, 200)


@pytest.mark.parametrize("error", [BackplaneDownError("full"), UnconfirmedError("cut")])
async def test_an_error_is_that_of_all_that_are_left(room: WaitingRoom, counts: Counts, error: Exception) -> None:
    """Each of them counts, once, and what was not sent is not sent any more."""
    future = enter(room, 300)
    assert room.next_frame() is not None
    room.settle([Position("e", place) for place in range(1, 129)])
    assert room.next_frame() is not None
    room.settle(error)
    assert future.exception() is error
    assert room.next_frame() is None
    assert len(room) == 0
    refused = isinstance(error, BackplaneDownError)
    assert (counts.published, counts.refused, counts.unconfirmed) == (128, 172 * refused, 172 * (not refused))


async def test_where_there_is_no_room_for_all_those_that_are_in_go_too(room: WaitingRoom, counts: Counts) -> None:
    """Nothing of it is published after the error was told; others are not concerned."""
    others = [room.enter(Outgoing("lobby", b"y", Kind.TEXT)) for _ in range(WAITING_MESSAGES - 10)]
    future = enter(room, 20)
    assert isinstance(future.exception(), BackplaneDownError)
    assert counts.refused == 20
    sent = []
    while (frame := room.next_frame()) is not None:
        sent += [one.outgoing.payload for one in frame.waiting]
        room.settle([Position("e", 1)] * len(frame.waiting))
    assert sent == [b"y"] * len(others)
    assert all(one.done() for one in others)
    assert room._bytes == 0


async def test_giving_up_counts_each_once(counts: Counts) -> None:
    """However often it is looked at."""
    room = WaitingRoom(asyncio.get_running_loop(), publish_seconds=0.0, counts=counts)
    future = enter(room, 150)
    assert room.next_frame() is not None
    for _ in range(3):
        room.give_up("it does not answer")
    error = future.exception()
    assert error is not None
    assert counts.refused + counts.unconfirmed == 150

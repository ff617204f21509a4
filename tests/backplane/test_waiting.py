from __future__ import annotations

import asyncio

import pytest

from fanwise.backplane.counts import Counts
from fanwise.backplane.port import Outgoing
from fanwise.backplane.waiting import FRAME_BYTES, FRAME_MESSAGES, WAITING_BYTES, WAITING_MESSAGES, WaitingRoom
from fanwise.core.publication import Kind, Position
from fanwise.errors import BackplaneDownError, UnconfirmedError

pytestmark = pytest.mark.anyio


def room(*, publish_seconds: float = 60.0) -> WaitingRoom:
    return WaitingRoom(asyncio.get_running_loop(), publish_seconds=publish_seconds, counts=Counts())


def outgoing(size: int = 1) -> Outgoing:
    return Outgoing("lobby", bytes(size), Kind.TEXT)


async def test_a_frame_is_bounded() -> None:
    """In publications and in bytes, and one is in it at least."""
    waiting = room()
    futures = [waiting.enter(outgoing()) for _ in range(FRAME_MESSAGES + 1)]
    large = [waiting.enter(outgoing(FRAME_BYTES)) for _ in range(2)]
    sizes = []
    while (frame := waiting.next_frame()) is not None:
        sizes.append((frame.number, len(frame.waiting)))
        waiting.settle([Position("e", place) for place in range(len(frame.waiting))])
    assert sizes == [(1, FRAME_MESSAGES), (2, 2), (3, 1)]
    assert [future.result().offset for future in futures] == [*range(FRAME_MESSAGES), 0]
    assert [future.result().offset for future in large] == [1, 0]


async def test_what_waits_is_bounded() -> None:
    """And there is room again for as much as has left, whatever became of it."""
    waiting = room()
    for _ in range(3):
        futures = [waiting.enter(outgoing()) for _ in range(WAITING_MESSAGES + 1)]
        assert isinstance(futures[-1].exception(), BackplaneDownError)
        assert not any(future.done() for future in futures[:-1])
        futures[0].cancel()
        while waiting.next_frame() is not None:
            waiting.settle(BackplaneDownError("full"))
        assert {type(future.exception()) for future in futures[1:]} == {BackplaneDownError}
        large = [waiting.enter(outgoing(WAITING_BYTES // 3)) for _ in range(3)]
        assert [future.done() for future in large] == [False, False, True]
        large[2].exception()
        waiting.shut()
        assert {type(future.exception()) for future in large} == {BackplaneDownError}


async def test_giving_up_says_whether_it_was_sent() -> None:
    """A frame in flight stays: its answer may come. Once nobody waits for it, it need not be sent again."""
    waiting = room(publish_seconds=0.0)
    sent = waiting.enter(outgoing())
    frame = waiting.next_frame()
    kept = waiting.enter(outgoing())
    waiting.drop_given_up()
    assert waiting.frame is frame
    waiting.give_up("it hangs")
    assert isinstance(sent.exception(), UnconfirmedError)
    assert isinstance(kept.exception(), BackplaneDownError)
    assert "it hangs" in str(kept.exception())
    assert waiting.frame is frame
    waiting.drop_given_up()
    assert (waiting.frame, len(waiting)) == (None, 0)


async def test_who_has_left_is_not_sent() -> None:
    """A publication that was cancelled before its turn takes no place."""
    waiting = room()
    gone, here = waiting.enter(outgoing()), waiting.enter(outgoing())
    gone.cancel()
    frame = waiting.next_frame()
    assert frame is not None
    assert [one.future for one in frame.waiting] == [here]
    here.cancel()
    waiting.settle([Position("e", 1)])

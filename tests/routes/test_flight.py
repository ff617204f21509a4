from __future__ import annotations

import asyncio

import pytest

from fanwise.core.publication import Position
from fanwise.errors import BackplaneDownError, FanwiseError
from fanwise.routes.flight import IN_FLIGHT, IN_FLIGHT_BYTES, Flight

pytestmark = pytest.mark.anyio


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_answers_come_in_the_order_of_the_publications() -> None:
    """Whichever the engine answers first; what was refused before the engine waits for its turn, too."""
    heard: list[Position | FanwiseError] = []
    failures: list[Exception] = []
    flight = Flight(failures.append)
    first, second, third = (asyncio.get_running_loop().create_future() for _ in range(3))
    refused, down = BackplaneDownError("refused"), BackplaneDownError("down")
    for outcome in (first, refused, second, third):
        assert flight.add(outcome, 1, heard.append) is None
    third.set_result(Position("e", 3))
    second.set_exception(down)
    await turns()
    assert (heard, len(flight)) == ([], 4)
    first.set_result(Position("e", 1))
    await turns()
    assert heard == [Position("e", 1), refused, down, Position("e", 3)]
    assert (len(flight), failures) == (0, [])


@pytest.mark.parametrize(("count", "size"), [(IN_FLIGHT, 1), (2, IN_FLIGHT_BYTES // 2)])
async def test_what_is_in_flight_is_bounded(count: int, size: int) -> None:
    """In publications and in bytes: the next one waits until there is room for several."""
    flight = Flight(lambda _: None)
    futures = [asyncio.get_running_loop().create_future() for _ in range(count)]
    waits = [flight.add(future, size, lambda _: None) for future in futures]
    assert waits[:-1] == [None] * (count - 1)
    assert waits[-1] is not None
    waiting = asyncio.ensure_future(waits[-1])
    for place, future in enumerate(futures):
        assert not waiting.done()
        future.set_result(Position("e", place + 1))
        await turns()
        if len(flight) <= count // 2:
            break
    await waiting
    for future in futures[place + 1 :]:
        future.set_result(Position("e", 1))
    await flight.landed()
    assert len(flight) == 0


async def test_an_answer_that_fails_ends_the_connection_only() -> None:
    """Those behind it are given all the same."""
    heard: list[object] = []
    failures: list[Exception] = []
    flight = Flight(failures.append)
    future = asyncio.get_running_loop().create_future()
    error = ValueError("of the engine")

    def fail(_: object) -> None:
        raise KeyError("an answer")

    for answer in (fail, heard.append):
        flight.add(future, 1, answer)
    broken = asyncio.get_running_loop().create_future()
    flight.add(broken, 1, heard.append)
    broken.set_exception(error)
    future.set_result(Position("e", 1))
    await flight.landed()
    assert heard == [Position("e", 1)]
    assert [type(one) for one in failures] == [KeyError, ValueError]


async def test_several_share_an_outcome_and_count_each() -> None:
    """They are in or not, and come in their turn."""
    heard: list[Position | FanwiseError] = []
    flight = Flight(lambda _: None)
    first, several = (asyncio.get_running_loop().create_future() for _ in range(2))
    assert flight.add(first, 1, heard.append) is None
    assert not flight.has_room(IN_FLIGHT, 1)
    assert not flight.has_room(1, IN_FLIGHT_BYTES)
    assert flight.has_room(IN_FLIGHT - 1, IN_FLIGHT_BYTES - 1)
    flight.add_all(several, IN_FLIGHT_BYTES - 1, heard.append, count=IN_FLIGHT - 1)
    assert len(flight) == IN_FLIGHT
    assert not flight.has_room(1, 1)
    several.set_result(Position("e", IN_FLIGHT))
    await turns()
    assert heard == []
    first.set_result(Position("e", 1))
    await turns()
    assert heard == [Position("e", 1), Position("e", IN_FLIGHT)]
    assert len(flight) == 0

"""Workers of one engine see each other: the same tests for each engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count

import pytest

from fanwise.backplane.memory import MemoryEngine
from fanwise.backplane.port import ANSWER_BYTES, OPEN_QUESTIONS, Fleet
from fanwise.errors import BackplaneDownError

from ..support.engines import RedisEngine, RedisServer, redis_server
from ..support.live import until
from ..support.nats import NatsEngine, NatsServer, nats_server

pytestmark = pytest.mark.anyio
NUMBERS = count()


class Worker:
    """A worker that answers each question with its name and the question, unless it is silent."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.asked: list[bytes] = []
        self.answers: list[bytes] = []  # to be given instead
        self.silent = False

    def hear(self, question: bytes, answer: Callable[[bytes], None]) -> None:
        self.asked.append(question)
        if not self.silent:
            for one in self.answers or [f"{self.fleet.worker} ".encode() + question]:
                answer(one)


@asynccontextmanager
async def worker(fleet: Fleet) -> AsyncIterator[Worker]:
    """A worker that all others see."""
    one = Worker(fleet)
    await fleet.start(one.hear)
    try:
        while True:
            fleet.announce(b"card of " + fleet.worker.encode())
            try:
                if fleet.worker in await fleet.workers():
                    break
            except BackplaneDownError:  # it is not connected yet
                await asyncio.sleep(0)
        yield one
    finally:
        await fleet.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture(params=["memory", "redis", "nats"])
async def new(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Fleet]]:
    """Makes connections to one engine."""
    if request.param == "memory":
        engine = MemoryEngine()
        yield lambda: engine.backplane().fleet()
    elif request.param == "nats":
        async with NatsEngine(request.getfixturevalue("nats"), f"f{next(NUMBERS)}") as nats:
            yield lambda: nats.backplane().fleet()
    else:
        async with RedisEngine(request.getfixturevalue("server"), f"f{next(NUMBERS)}") as redis:
            yield lambda: redis.backplane().fleet()


@pytest.fixture
async def three(new: Callable[[], Fleet]) -> AsyncIterator[tuple[Worker, Worker, Worker]]:
    async with worker(new()) as one, worker(new()) as two, worker(new()) as three:
        yield one, two, three


async def test_all_workers_are_listed(three: tuple[Worker, Worker, Worker]) -> None:
    """With their cards, under names of their own; who stops takes the card back."""
    one, two, last = (one.fleet for one in three)
    expected = {fleet.worker: f"card of {fleet.worker}".encode() for fleet in (one, two, last)}
    assert len(expected) == 3
    assert await one.workers() == await last.workers() == expected
    gone = two.worker
    await two.stop()
    assert gone not in await one.workers()


async def test_all_others_are_asked(three: tuple[Worker, Worker, Worker]) -> None:
    """Once, and each answer is heard with the name of its worker. Nobody asks itself."""
    one, two, last = three
    heard: dict[str, bytes] = {}
    end = one.fleet.ask(b"who\n are you", heard.__setitem__)
    await until(lambda: len(heard) == 2)
    end()
    assert heard == {other.fleet.worker: f"{other.fleet.worker} who\n are you".encode() for other in (two, last)}
    assert (one.asked, two.asked) == ([], [b"who\n are you"])


async def test_one_is_asked(three: tuple[Worker, Worker, Worker]) -> None:
    """The others do not hear of it."""
    one, two, last = three
    heard: dict[str, bytes] = {}
    one.fleet.ask(b"you", heard.__setitem__, to=two.fleet.worker)
    await until(lambda: bool(heard))
    assert list(heard) == [two.fleet.worker]
    one.fleet.ask(b"all", heard.__setitem__)
    await until(lambda: bool(last.asked))
    assert last.asked == [b"all"]


async def test_large_answers_arrive_and_larger_ones_are_a_mistake(three: tuple[Worker, Worker, Worker]) -> None:
    """A megabyte of any bytes; what is larger is not sent."""
    one, two, last = three
    last.silent = True
    two.answers = [bytes(range(256)) * (ANSWER_BYTES // 256)]
    heard: dict[str, bytes] = {}
    one.fleet.ask(b"much", heard.__setitem__)
    await until(lambda: bool(heard))
    assert heard == {two.fleet.worker: two.answers[0]}
    with pytest.raises(ValueError, match="131072"):
        one.fleet.ask(bytes(131_073), heard.__setitem__)


async def test_a_second_answer_is_not_heard(three: tuple[Worker, Worker, Worker]) -> None:
    """Nor one that comes after the end."""
    one, two, last = three
    two.answers = [b"first", b"second"]
    heard: list[tuple[str, bytes]] = []
    one.fleet.ask(b"x", lambda name, answer: heard.append((name, answer)))
    await until(lambda: len(heard) == 2)
    end = one.fleet.ask(b"y", lambda name, answer: heard.append((name, answer)))
    end()
    again: list[tuple[str, bytes]] = []
    one.fleet.ask(b"z", lambda name, answer: again.append((name, answer)))
    await until(lambda: len(again) == 2)  # what came before has been heard, or will not be
    assert sorted(heard) == sorted([(two.fleet.worker, b"first"), (last.fleet.worker, heard_of(last, b"x"))])


def heard_of(one: Worker, question: bytes) -> bytes:
    return f"{one.fleet.worker} ".encode() + question


async def test_open_questions_are_bounded(three: tuple[Worker, Worker, Worker]) -> None:
    """Whoever asks more is told."""
    fleet = three[0].fleet
    ends = [fleet.ask(b"x", lambda *_: None) for _ in range(OPEN_QUESTIONS)]
    with pytest.raises(BackplaneDownError, match="64 questions"):
        fleet.ask(b"x", lambda *_: None)
    ends[7]()
    fleet.ask(b"x", lambda *_: None)

from __future__ import annotations

import asyncio
import gc
import tracemalloc

import pytest
from anyio.lowlevel import checkpoint

from fanwise.errors import IdempotencyError
from fanwise.routes.idempotency import Idempotency

pytestmark = pytest.mark.anyio


class Counter:
    """Something that must not be done twice."""

    def __init__(self) -> None:
        self.done = 0
        self.release = asyncio.Event()
        self.release.set()

    async def __call__(self) -> bytes:
        self.done += 1
        await self.release.wait()
        return b"%d" % self.done


async def test_the_same_request_is_done_once() -> None:
    """And gets the same answer as often as it is sent."""
    idempotency, act = Idempotency(), Counter()
    assert [await idempotency.once("k", b"request", act) for _ in range(3)] == [b"1", b"1", b"1"]
    assert await idempotency.once("other", b"request", act) == b"2"


async def test_a_key_for_another_request_is_refused() -> None:
    """Rather than answered with what was never asked."""
    idempotency, act = Idempotency(), Counter()
    await idempotency.once("k", b"request", act)
    with pytest.raises(IdempotencyError, match="take a new one"):
        await idempotency.once("k", b"another", act)
    assert act.done == 1


async def test_a_request_that_is_being_done_is_waited_for() -> None:
    """Also if whoever sent it first has given up."""
    idempotency, act = Idempotency(), Counter()
    act.release.clear()
    first = asyncio.create_task(idempotency.once("k", b"request", act))
    await checkpoint()
    await checkpoint()
    second = asyncio.create_task(idempotency.once("k", b"request", act))
    await checkpoint()
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    act.release.set()
    assert await second == b"1"


async def test_what_failed_may_be_sent_again() -> None:
    """Nothing was done, so nothing is remembered."""
    idempotency, act = Idempotency(), Counter()

    async def fail() -> bytes:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await idempotency.once("k", b"request", fail)
    assert len(idempotency) == 0
    assert await idempotency.once("k", b"another", act) == b"1"


async def test_answers_are_forgotten_by_age() -> None:
    """A request that comes again after that is done again."""
    act = Counter()
    brief = Idempotency(seconds=0.0)
    assert [await brief.once("k", b"request", act) for _ in range(2)] == [b"1", b"2"]


async def test_the_oldest_answers_make_room() -> None:
    """However large each is; the newest is remembered if it fits at all."""

    async def act() -> bytes:
        return bytes(100_000)

    idempotency = Idempotency(max_bytes=350_000)
    for key in "abcde":
        assert len(await idempotency.once(key, b"request", act)) == 100_000
        await checkpoint()
    assert list(idempotency._entries) == ["c", "d", "e"]
    small = Idempotency(max_bytes=1000)
    await small.once("a", b"request", act)
    await checkpoint()
    assert (len(small), small._bytes) == (0, 0)


async def test_memory_is_what_it_is_said_to_be() -> None:
    """Counted by the interpreter: thousands of keys with short answers take what is allowed, and no tenth more."""

    async def act() -> bytes:
        return b'{"channel":"lobby","epoch":"9f2c01ab77e4","offset":%d}' % len(idempotency)

    allowed = 1_048_576
    idempotency = Idempotency(max_bytes=allowed)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(3000):
            key = f"{number:0{250 if number % 2 else 8}d}"
            await idempotency.once(key, b"request", act)
            if number % 100 == 0:
                await checkpoint()
        await checkpoint()
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 1000 < len(idempotency) < 3000
    assert allowed - 1000 < idempotency._bytes <= allowed
    assert allowed * 0.8 < taken < allowed * 1.1

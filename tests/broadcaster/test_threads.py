from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as Late
from typing import Any

import pytest

from fanwise.broadcaster.node import Node
from fanwise.broadcaster.threads import LoopFuture
from fanwise.errors import FanwiseError, ThreadError

from ..support.live import until

pytestmark = pytest.mark.anyio


async def elsewhere(function: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(function)


async def test_publishing_in_another_thread_is_an_error() -> None:
    """The loop would not wake up, and the log might be torn: nothing is published, and the error says what to call."""
    async with Node() as broadcaster:
        with pytest.raises(ThreadError, match="publish_threadsafe"):
            await elsewhere(lambda: broadcaster.publish_nowait("a", "x"))
        assert broadcaster.tally.publications == 0
        assert broadcaster.publish_nowait("a", "x").offset == 1


@pytest.mark.parametrize("ask", [LoopFuture.result, LoopFuture.exception], ids=["result", "exception"])
async def test_the_loop_does_not_wait_for_itself(ask: Callable[..., Any]) -> None:
    """It raises in place of hanging, also where it would wait for a time only; the publication comes all the same."""
    async with Node() as broadcaster:
        future = broadcaster.publish_threadsafe("a", "x")
        for timeout in (None, 5.0):
            with pytest.raises(ThreadError, match=r"await broadcaster\.publish\("):
                ask(future, timeout)
        await until(future.done)
        assert (future.result().offset, future.exception()) == (1, None)


async def test_another_loop_in_another_thread() -> None:
    """The thread that counts is that of the broadcaster's loop."""
    async with Node() as broadcaster:

        async def publish() -> int:
            return broadcaster.publish_threadsafe("a", "x").result(5).offset

        assert await elsewhere(lambda: asyncio.run(publish())) == 1


async def test_a_broadcaster_that_is_started_again_has_another_thread() -> None:
    """The one in which its loop is."""
    broadcaster = Node()
    found: list[FanwiseError | int] = []

    async def publish() -> None:
        async with broadcaster:
            found.append(broadcaster.publish_nowait("a", "x").offset)

    async with broadcaster:
        pass
    thread = threading.Thread(target=lambda: asyncio.run(publish()))
    thread.start()
    await elsewhere(thread.join)
    assert found == [1]


async def test_what_a_future_can_become() -> None:
    """A result, an error, or cancelled: by its owner before it has begun, and by the end of its loop after that."""
    loop = asyncio.get_running_loop()

    async def fail() -> None:
        raise LookupError

    async def hang() -> None:
        await loop.create_future()

    failed = LoopFuture(loop, 0, fail)
    await until(failed.done)
    with pytest.raises(LookupError):
        failed.result()
    given_up = LoopFuture(loop, 0, hang)
    assert given_up.cancel()
    hanging = LoopFuture(loop, 0, hang)
    await until(hanging.running)
    assert (given_up.cancelled(), hanging.cancel()) == (True, False)
    with pytest.raises(Late):
        hanging.result(0)
    task = hanging._task
    assert task is not None
    task.cancel()
    await until(hanging.done)
    assert isinstance(hanging.exception(), CancelledError)

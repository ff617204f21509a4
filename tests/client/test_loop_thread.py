from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from fanwise.client.errors import ClosedError
from fanwise.client.loop_thread import LoopThread, Threaded


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.stop()


def test_it_runs_what_other_threads_have(thread: LoopThread) -> None:
    """Results and errors come back, in a thread that is a daemon."""

    async def name() -> str:
        assert threading.current_thread().daemon
        return threading.current_thread().name

    async def fail() -> None:
        raise LookupError("x")

    assert thread.run(name()) == "fanwise-client"
    with pytest.raises(LookupError, match="x"):
        thread.run(fail())


def test_a_call_ends_when_the_loop_ends(thread: LoopThread) -> None:
    """Calls that wait hear of it, and later ones do not wait; a second end is none."""
    begun = threading.Event()
    seen: list[BaseException] = []

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    def call() -> None:
        try:
            thread.run(hang())
        except ClosedError as error:
            seen.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    begun.wait()
    thread.stop()
    caller.join()
    assert [str(error) for error in seen] == ["the connection is closed with 1000: closed by this client"]
    with pytest.raises(ClosedError):
        thread.run(hang())
    thread.stop()


def test_it_does_not_wait_for_itself(thread: LoopThread) -> None:
    """Whoever calls from the loop's own thread would never get an answer, and is told so."""

    async def call() -> None:
        thread.run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="cannot wait for the client"):
        thread.run(call())


def test_a_function_that_blocks() -> None:
    """It runs in another thread, once at a time: a call that hangs is waited for again, and not repeated."""
    permit, threads = threading.Event(), list[threading.Thread]()

    def block() -> str:
        threads.append(threading.current_thread())
        permit.wait()
        return "t"

    async def ask() -> str:
        threaded = Threaded(block)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(threaded(), 0.01)
        permit.set()
        return str(await threaded())

    assert asyncio.run(ask()) == "t"
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize("error", [LookupError("x"), StopIteration("x"), SystemExit("x")])
def test_a_function_that_raises(error: BaseException) -> None:
    """Whatever it is, it does not go by unseen, and does not end the program."""

    def fail() -> str:
        raise error

    async def ask() -> None:
        await Threaded(fail)()

    with pytest.raises((LookupError, RuntimeError), match="x"):
        asyncio.run(ask())


def test_a_coroutine_behind_a_plain_function() -> None:
    """What the function returns is awaited on the loop."""

    async def token() -> str:
        return threading.current_thread().name

    async def ask() -> str:
        return str(await Threaded(lambda: token())())  # noqa: PLW0108 - which hides that it is one

    assert asyncio.run(ask()) == threading.main_thread().name

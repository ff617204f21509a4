"""What runs on an event loop, for tests that have none: Playwright's, and those that start processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

Entered = TypeVar("Entered")
Run = Callable[[Coroutine[Any, Any, Any]], Any]


@contextmanager
def background(context: AbstractAsyncContextManager[Entered]) -> Iterator[tuple[Entered, Run]]:
    """Enters `context` on an event loop in a thread of its own.

    Yields what it gave, and what runs a coroutine on that loop and returns its result.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    async def enter() -> Entered:
        return await context.__aenter__()

    async def leave() -> None:
        await context.__aexit__(None, None, None)

    async def settle() -> None:
        """Ends the tasks that are left, as `asyncio.run` does, but none before its first step: it may hold a socket."""
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.sleep(0)
            for task in others:
                task.cancel()
            await asyncio.wait(others)

    try:
        entered = run(enter())
        try:
            yield entered, run
        finally:
            run(leave())
    finally:
        run(settle())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

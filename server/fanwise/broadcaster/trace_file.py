"""A trace into a file, from the start of a node to its end: `FANWISE_TRACE`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import Final

from ..logs.events import Event, log
from .recorder import Recorder
from .recordings import Recordings

FILE_BYTES: Final = 268_435_456  # after which the trace ends; the server goes on


@asynccontextmanager
async def traced(recordings: Recordings, path: str) -> AsyncIterator[None]:
    """Records while the context lasts. A thread writes to the file: a slow disk ends the trace and holds up nobody.

    Raises:
        OSError: The file cannot be opened.
    """
    with await asyncio.to_thread(Path(path).open, "wb", buffering=0) as file:
        recorder = recordings.start(most_bytes=FILE_BYTES)
        task = asyncio.create_task(_write(recorder, file, path), name="fanwise trace")
        try:
            yield
        finally:
            recorder.end("stopped")
            await task


async def _write(recorder: Recorder, file: FileIO, path: str) -> None:
    size_bytes = 0
    try:
        while data := await recorder.read():
            await asyncio.to_thread(_append, file, data)
            size_bytes += len(data)
    except OSError as error:
        log(Event.TRACE_FAILED, path=path, error=error)
        recorder.end("slow")
    else:
        log(Event.TRACE_ENDED, path=path, size_bytes=size_bytes, reason=recorder.end_reason)


def _append(file: FileIO, data: bytes) -> None:
    while data:
        data = data[file.write(data) :]

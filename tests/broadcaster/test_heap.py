from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest
from anyio.lowlevel import checkpoint

from fanwise import Broadcaster
from fanwise.broadcaster import heap
from fanwise.broadcaster.heap import trim_heap

from ..support.live import until

pytestmark = pytest.mark.anyio

FREED_BYTES = 50_000_000


def resident_bytes(pid: int | str = "self") -> int:
    """What a process has in memory (proc(5))."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def fragment() -> list[bytearray]:
    """Frees 100 MB below blocks that are returned, and stay in use."""
    blocks = [bytearray(100_000) for _ in range(1_000)]
    return blocks[::100]


def test_free_memory_is_given_back() -> None:
    """Also what lies below blocks in use, which glibc itself keeps."""
    kept = fragment()
    before = resident_bytes()
    trim_heap()
    assert before - resident_bytes() > FREED_BYTES
    del kept


async def test_an_application_gives_free_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as its broadcaster runs, again and again, and unless it is told not to."""
    monkeypatch.setattr(heap, "TRIM_SECONDS", 0.01)
    async with Broadcaster().lifespan():
        for _ in range(2):
            kept = fragment()
            before = resident_bytes()
            await until(lambda before=before: before - resident_bytes() > FREED_BYTES)  # type: ignore[misc]
    async with Broadcaster(trim_heap=False).lifespan():
        await checkpoint()
        assert [task for task in asyncio.all_tasks() if task.get_name() == "fanwise heap"] == []
    del kept

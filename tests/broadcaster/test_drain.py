from __future__ import annotations

import asyncio
import json

import pytest

from fanwise.broadcaster.drain import drain, restart_text
from fanwise.core.reasons import CloseReason

from ..support.fakes import FakeSink
from .test_client import Scene, scene

pytestmark = pytest.mark.anyio


def test_farewells_are_all_different_and_fit() -> None:
    """RFC 6455 section 5.5: 125 bytes, two of them for the code."""
    texts = [restart_text(place) for place in (0, 1, 99_999)]
    assert [json.loads(text) for text in texts] == [
        {"reason": "restart", "retry_ms": retry} for retry in (500, 502, 200_498)
    ]
    assert max(map(len, texts)) <= 123


async def test_who_is_ready_is_told_to_come_back() -> None:
    """With SHUTDOWN and a time."""
    async with scene() as setting:
        await drain([setting.client], seconds=0.2)
        await setting.settle()
        assert setting.sink.reasons == [CloseReason.SHUTDOWN]
        assert json.loads(setting.sink.texts[0])["reason"] == "restart"


async def test_who_is_behind_is_flushed_first() -> None:
    """It is closed when it has caught up, not before."""
    async with scene() as setting:
        setting.sink.pause()
        setting.publish("a", b"1")
        task = asyncio.create_task(drain([setting.client], seconds=5))
        await setting.settle()
        assert setting.sink.reasons == []
        setting.sink.resume()
        await task
        assert setting.sink.written == [b"\x81\x011"]
        assert setting.sink.reasons == [CloseReason.SHUTDOWN]


async def test_who_stays_behind_is_closed_when_the_time_is_up() -> None:
    """Whatever it does."""
    async with scene() as setting:
        setting.sink.pause()
        await drain([setting.client], seconds=0.1)
        await setting.settle()
        assert setting.client.reason is CloseReason.SHUTDOWN


async def test_who_does_not_answer_the_close_is_aborted() -> None:
    """Draining ends in time."""

    class Stubborn(FakeSink):
        async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
            await asyncio.Event().wait()

    setting = Scene(Stubborn())
    setting.client.start()
    await drain([setting.client], seconds=0.1)
    await setting.end()
    assert setting.sink.aborted


async def test_nobody_is_left_at_once() -> None:
    """Without clients there is nothing to wait for."""
    async with asyncio.timeout(1):
        await drain([], seconds=60)

from __future__ import annotations

import pytest
from fastapi import FastAPI

from fanwise.tools.bench.run import baselines
from fanwise.tools.bench.run.baselines import QUEUE_MESSAGES, queue_and_task, tutorial

from ....support.live import running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("app", [tutorial, queue_and_task])
async def test_they_broadcast(app: FastAPI) -> None:
    """To everybody in the channel, the sender included, and to nobody else."""
    async with running(app, fast=False) as live:
        sender, other, stranger = [await live.connect(f"/ws?channel={name}") for name in ("a", "a", "b")]
        await sender.send("hi")
        await stranger.send("ho")
        assert [await client.recv() for client in (sender, other, stranger)] == ["Message: hi"] * 2 + ["Message: ho"]
        for client in (sender, other, stranger):
            await client.close()


async def test_the_queue_drops_who_overflows() -> None:
    """With the code that Fanwise uses."""
    async with running(queue_and_task, fast=False) as live:
        sender, stuck = await live.connect("/ws?channel=q"), await live.raw("/ws?channel=q", receive_buffer=4096)
        text = "x" * 60_000
        received = 0
        for _ in range(QUEUE_MESSAGES + 400):
            await sender.send(text)
            received += len(str(await sender.recv())) > 0
        assert received == QUEUE_MESSAGES + 400
        assert len(baselines._queues["q"]) == 1
        await sender.close()
        stuck.close()

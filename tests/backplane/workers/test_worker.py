from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from fanwise.backplane.workers.member import BEAT, READY, Order
from fanwise.backplane.workers.processes import start
from fanwise.backplane.workers.worker import Worker

from ...support.live import until

pytestmark = pytest.mark.anyio


async def done(worker: Worker, task: asyncio.Task[Any]) -> None:
    """Returns when the task has ended, which looks as a launcher does."""

    def looked() -> bool:
        worker.look()
        return task.done()

    await until(looked)


async def test_the_life_of_a_worker() -> None:
    """It is ready when it says so, heard of at each sign of life, and ends in time or killed."""
    ours, theirs = socket.socketpair()
    now = 100.0
    worker = Worker(start(["sleep", "1000"]), ours, clock=lambda: now)
    starting = asyncio.create_task(worker.started())
    with theirs:
        theirs.setblocking(False)
        theirs.send(READY)
        assert await starting
        now = 101.0
        theirs.send(BEAT)
        await until(lambda: worker.heard_at == now)
        worker.look()
        leaving = asyncio.create_task(worker.leave(Order.DRAIN, within_seconds=0.01))
        assert await asyncio.get_running_loop().sock_recv(theirs, 16) == b"d"
        await done(worker, leaving)
    assert await worker.end() == -9
    assert not worker.ready
    worker.order(Order.STOP)  # which nobody hears


async def test_a_worker_that_ends_before_it_is_ready() -> None:
    """Nobody waits for it any longer."""
    ours, theirs = socket.socketpair()
    theirs.close()
    worker = Worker(start(["/bin/false"]), ours, clock=time.monotonic)
    starting = asyncio.create_task(worker.started())
    await done(worker, starting)
    assert not await starting
    assert await worker.end() == 1

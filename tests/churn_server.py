"""A server for `test_churn.py`: two channels broadcast flat out while clients come, go and are aborted by us.

    python -m tests.churn_server PORT uvloop|asyncio [--yield-after-each] [--leave-too-late]

`--yield-after-each` makes sweeps give the loop back after every client. `--leave-too-late` plants the fault that the
test is there to catch: a client leaves its ready group one turn of the loop after its connection was lost.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import uvicorn
from fastapi import FastAPI

from server import Broadcaster, CloseReason
from server.connection import SocketConnection
from server.protocol import FanwiseProtocol
from server.writer import Client

PAYLOADS = {"x": "x" * 100, "y": "y" * 130}  # {channel: what is published there, again and again}


class LateProtocol(FanwiseProtocol):
    """The planted fault."""

    def connection_lost(self, exc: Exception | None) -> None:
        sink, self.sink = self.sink, SocketConnection(self)
        self.loop.call_soon(lambda: sink.ended(CloseReason.LOST))
        super().connection_lost(exc)


class WatchedBroadcaster(Broadcaster):
    """Knows its clients, so that some can be aborted."""

    def some_client(self) -> Client | None:
        clients = list(self._roster)
        return random.choice(clients) if clients else None


def create_app(*, yield_after_each: bool) -> FastAPI:
    broadcaster = WatchedBroadcaster(
        queue_messages=20_000,
        queue_bytes=8_000_000,
        history_bytes=8_000_000,
        cohort_clients=1 if yield_after_each else 128,
        sweep_seconds=1e-9 if yield_after_each else 0.003,
    )

    async def publish() -> None:
        while True:
            for channel, payload in PAYLOADS.items():
                for _ in range(4):
                    await broadcaster.publish(channel, payload)
            await asyncio.sleep(0)

    async def abort() -> None:
        while True:
            await asyncio.sleep(0.005)
            client = broadcaster.some_client()
            if client is not None:
                client.sink.abort()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with broadcaster.lifespan(app):
            tasks = [asyncio.create_task(publish()), asyncio.create_task(abort())]
            yield
            for task in tasks:
                task.cancel()

    app = FastAPI(lifespan=lifespan)
    app.include_router(broadcaster.router)
    return app


def main(port: str, loop: Literal["uvloop", "asyncio"], *flags: str) -> None:
    protocol = FanwiseProtocol
    if "--leave-too-late" in flags:
        protocol = LateProtocol
    uvicorn.run(
        create_app(yield_after_each="--yield-after-each" in flags),
        port=int(port),
        loop=loop,
        ws=protocol,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        log_level="warning",
        backlog=4096,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]

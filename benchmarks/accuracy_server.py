"""A server for `accuracy`: one node for each cell, with settings of its own. All are published to at the same times.

    python -m benchmarks.accuracy_server 8000 '{"seconds": 60, "cells": {"latest-64": {"queue_messages": 64}}}'

`/CELL/ws` is the WebSocket of a cell. `POST /start` begins, and returns when on the monotonic clock. `GET /found`
returns what the cells had counted at the end, or nothing before.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from starlette.routing import Mount, Router

from fanwise import Broadcaster
from fanwise.protocol import FanwiseHttpProtocol, FanwiseProtocol
from fanwise.transport.collector import tune_gc

from .accuracy_load import CHANNEL, DEFAULTS

LEAD_SECONDS: Final = 0.5  # from the answer of `/start` to the first publication
END_SECONDS: Final = 0.1  # from the last publication to the look at the counters
_LOOK_SECONDS: Final = 0.25  # between two looks at the memory


class Cell:
    """A node, and what became of it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.broadcaster = Broadcaster(**settings)
        self.memory_bytes = 0
        self.late_seconds = 0.0
        self.held_seconds = 0.0
        self.found: dict[str, Any] = {}

    async def play(self, times: list[float], start: float, config: dict[str, Any]) -> None:
        """Publishes at `times` after `start`, or as soon as the node lets its producer."""
        padding = "x" * (config["size"] - 16)
        for number, due in enumerate(times):
            rest = start + due - time.monotonic()
            if rest > 0:
                await asyncio.sleep(rest)
            begun = time.monotonic()
            stamp = f"{begun:.6f}".ljust(16, "0")[:16]
            await self.broadcaster.publish(CHANNEL, stamp + padding, key=f"k{number % config['keys']}")
            self.held_seconds = max(self.held_seconds, time.monotonic() - begun)
            self.late_seconds = max(self.late_seconds, begun - start - due)

    async def watch(self, ends: float) -> None:
        """Looks at the memory until the end, and then at the counters."""
        while time.monotonic() < ends:
            self.memory_bytes = max(self.memory_bytes, self.broadcaster.inspect.outline().retained_bytes)
            await asyncio.sleep(min(_LOOK_SECONDS, max(ends - time.monotonic(), 0.0)))
        tally = self.broadcaster.tally
        self.found = {
            "closed": {reason.name.lower(): number for reason, number in tally.closed.items() if number},
            "dropped": {cause: number for cause, number in tally.dropped.items() if number},
            "memory_bytes": self.memory_bytes,
            "late_seconds": self.late_seconds,
            "held_seconds": self.held_seconds,
        }


def times_of(config: dict[str, Any]) -> list[float]:
    """Returns when to publish: at a steady rate, and in bursts."""
    seconds, rate, every = config["seconds"], config["rate"], config["every"]
    steady = [number / rate for number in range(int(seconds * rate))]
    return sorted(steady + [number * every for number in range(int(seconds / every))] * config["burst"])


def make_app(config: dict[str, Any]) -> FastAPI:
    """Returns an application with a node for each cell."""
    config = {**DEFAULTS, **config}
    cells = {name: Cell(settings) for name, settings in config["cells"].items()}
    tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        tune_gc()
        async with AsyncExitStack() as stack:
            for cell in cells.values():
                await stack.enter_async_context(cell.broadcaster.lifespan())
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/start")
    async def start() -> float:
        begins, times = time.monotonic() + LEAD_SECONDS, times_of(config)
        for cell in cells.values():
            tasks.append(asyncio.create_task(cell.play(times, begins, config)))
            tasks.append(asyncio.create_task(cell.watch(begins + times[-1] + END_SECONDS)))
        return begins

    @app.get("/found")
    async def found() -> dict[str, Any]:
        return {name: cell.found for name, cell in cells.items() if cell.found}

    for name, cell in cells.items():
        app.router.routes.append(Mount(f"/{name}", app=Router(routes=cell.broadcaster.router.routes)))
    return app


if __name__ == "__main__":
    uvicorn.run(
        make_app(json.loads(sys.argv[2])),
        port=int(sys.argv[1]),
        http=FanwiseHttpProtocol,
        ws=FanwiseProtocol,
        ws_ping_interval=None,
        log_level="error",
    )

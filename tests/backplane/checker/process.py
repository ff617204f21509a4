"""A server in a process of its own, with real WebSockets.

python -m tests.backplane.checker.process PORT URLS OPTIONS
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from fanwise import Broadcaster
from fanwise.backplane.options import Options
from fanwise.backplane.urls import backplane_from
from fanwise.backplane.workers.siblings import _processes_of
from fanwise.core.publication import Position
from fanwise.errors import BackplaneDownError, UnconfirmedError
from fanwise.transport.http_protocol import FanwiseHttpProtocol
from fanwise.transport.websocket_protocol import FanwiseProtocol

from ...support.processes import ServerProcess
from .reader import Reader

_CONNECT_SECONDS = 2.0


async def fanwise(port: int) -> ClientConnection:
    """A WebSocket of the JSON dialect, welcomed. Raises OSError."""
    try:
        websocket = await connect(
            f"ws://127.0.0.1:{port}/ws",
            subprotocols=[Subprotocol("fanwise.v1")],
            compression=None,
            proxy=None,
            open_timeout=_CONNECT_SECONDS,
            close_timeout=0.1,
            ping_interval=None,
        )
        await websocket.recv()
    except WebSocketException as error:
        raise ConnectionError(str(error)) from error
    return websocket


class RemoteWorker:
    """A server behind a port of this machine, and one connection to it for all publications."""

    def __init__(self, name: str, *, answer_seconds: float, port: int = 0) -> None:
        self.name = name
        self.slowest_seconds = 0.0
        self.port = port
        self._answer_seconds = answer_seconds
        self._publisher: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Position]] = {}
        self._connecting = asyncio.Lock()
        self._numbers = 0

    async def start(self) -> None:
        """It runs already."""

    async def stop(self) -> None:
        self.drop_publisher()

    async def publish(self, channel: str, body: str) -> Position:
        self._numbers += 1
        number, begin = self._numbers, time.monotonic()
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            async with asyncio.timeout(self._answer_seconds):
                websocket = await self._connection()
                await websocket.send(json.dumps({"op": "publish", "channel": channel, "data": body, "id": number}))
                position = await future
        except WebSocketException as error:
            raise ConnectionError(str(error)) from error
        finally:
            del self._waiting[number]
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - begin)
        return position

    async def _connection(self) -> ClientConnection:
        async with self._connecting:
            if self._publisher is None:
                self._publisher = websocket = await fanwise(self.port)
                self._task = asyncio.create_task(self._listen(websocket))
            return self._publisher

    async def _listen(self, websocket: ClientConnection) -> None:
        try:
            async for text in websocket:
                self._answered(json.loads(text))
        except WebSocketException:
            pass
        finally:
            if websocket is self._publisher:
                self.drop_publisher()

    def _answered(self, message: dict[str, Any]) -> None:
        future = self._waiting.get(message.get("id", 0))
        if future is None or future.done():
            return
        if message["op"] == "published":
            future.set_result(Position(message["epoch"], message["offset"]))
        elif message["code"] == "backplane_down":
            future.set_exception(BackplaneDownError(message["message"]))
        else:
            future.set_exception(UnconfirmedError(message["message"]))

    def drop_publisher(self) -> None:
        """Whether its publications were taken, nobody knows."""
        websocket, self._publisher = self._publisher, None
        if websocket is not None:
            websocket.transport.abort()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError("the worker has gone"))

    @asynccontextmanager
    async def connection(self, reader: Reader) -> AsyncIterator[None]:
        websocket = await fanwise(self.port)
        since = reader.connecting(self.name)
        task = asyncio.create_task(self._hear(websocket, reader, since))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            websocket.transport.abort()

    async def _hear(self, websocket: ClientConnection, reader: Reader, since: Position | None) -> None:
        place = {} if since is None else {"since": since._asdict()}
        try:
            await websocket.send(json.dumps({"op": "subscribe", "channel": reader.channel, **place}))
            async for text in websocket:
                message = json.loads(text)
                if message["op"] == "error":
                    return
                reader.hear(message)
        except WebSocketException:
            pass
        finally:
            reader.ended.set()


class ProcessWorker(RemoteWorker):
    """A process of its own."""

    def __init__(self, name: str, url: str, options: Options) -> None:
        super().__init__(name, answer_seconds=options.publish_seconds + 2)
        braces = str.maketrans({"{": "{{", "}": "}}"})  # what it is started with is a format
        self._arguments = ("{port}", url, json.dumps(asdict(options)).translate(braces))
        self._process: ServerProcess | None = None

    async def start(self) -> None:
        module = "tests.backplane.checker.process"
        self._process = await asyncio.to_thread(ServerProcess, "-m", module, *self._arguments)
        self.port = self._process.port

    async def stop(self) -> None:
        await super().stop()
        if self._process is not None:
            await asyncio.to_thread(self._process.kill)
            self._process.close()

    async def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        await asyncio.to_thread(self._process.kill)
        self.drop_publisher()

    def stall(self, *, stalled: bool) -> None:
        """SIGSTOP, or SIGCONT."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP if stalled else signal.SIGCONT)


class Launched:
    """`fanwise serve --workers`, with an engine of its own."""

    def __init__(self, workers: int) -> None:
        command = ("-m", "tests.support.launched", "serve", "--workers", str(workers), "--port", "{port}")
        self.server = ServerProcess(*command, FANWISE_DRAIN_SECONDS="0.5")

    def pids(self, *, engine: bool = False) -> list[int]:
        """Of its workers, or of its engine."""
        found = []
        for pid in sorted(_processes_of(self.server.pid)):
            with contextlib.suppress(OSError):
                if (b"-server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]) == engine:
                    found.append(pid)
        return found

    def started(self) -> int:
        """How many workers have begun to take clients, ever."""
        return self.server.log.count(" takes clients on ")

    def close(self) -> None:
        self.server.close()


def main(port: str, urls: str, options: str) -> None:
    """Serves until it is told to stop."""
    chosen = Options(**json.loads(options))
    backplane = backplane_from(urls, chosen)
    bounds: dict[str, Any] = {
        "history_messages": chosen.history_messages,
        "queue_messages": 20_000,
        "ready_lag_seconds": inf,
    }
    broadcaster = Broadcaster(backplane=backplane, **bounds)
    app = FastAPI()
    app.include_router(broadcaster.router)
    uvicorn.run(app, port=int(port), ws=FanwiseProtocol, http=FanwiseHttpProtocol, log_level="error", loop="uvloop")


if __name__ == "__main__":
    main(*sys.argv[1:])

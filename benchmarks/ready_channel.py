"""One channel with many ready clients, and the ways of serving them that Fanwise is compared with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from starlette.websockets import WebSocket
from websockets.frames import Frame, Opcode

from fanwise.broadcaster.sweep import Sweeper
from fanwise.core.channel import Channel
from fanwise.core.encoding import join, plain_frame
from fanwise.core.hub import Hub
from fanwise.core.lease import Lease
from fanwise.core.publication import Kind
from fanwise.core.queue import Queue

PAYLOAD = b"Message: " + b"x" * 128
# A kilobyte of JSON as it is published: numbers that differ, names that repeat.
QUOTES = [
    {"symbol": f"S{at * 7919 % 1000:03}", "bid": at * 104_729 % 10_000 / 100, "size": at * 31_337 % 500}
    for at in range(25)
]


class NoMember:
    """A `group.Member` for descriptors that are never full."""

    lease = None

    def write(self, data: bytes) -> None:
        raise AssertionError

    def fall_behind(self, queue: Queue, cursor: int, rest: memoryview) -> None:
        raise AssertionError

    def broken(self, *_args: object) -> None:
        raise AssertionError

    def leave(self) -> None:
        raise AssertionError


class Scene:
    """A hub with one channel whose clients, one per descriptor, are all ready."""

    def __init__(self, fds: Sequence[int], *, sweep_seconds: float = 0.003, cohort_clients: int = 128) -> None:
        self.loop = asyncio.new_event_loop()
        self.hub = Hub(
            queue_messages=1_000_000,
            queue_bytes=1 << 40,
            history_messages=1000,
            history_bytes=1 << 22,
            history_seconds=1.0,
            cohort_clients=cohort_clients,
        )
        self.hub.retention.max_messages = 2000
        self.channel: Channel = self.hub.channel("lobby", time=0.0)
        self.sweeper = Sweeper(self.loop, slice_bytes=262_144, sweep_seconds=sweep_seconds)
        group, member = self.channel.group(plain_frame), NoMember()
        for fd in fds:
            group.join(self.hub.subscribe(self.channel.name, time=0.0).queue, member, lease=Lease(fd))

    def append(self, count: int) -> None:
        for _ in range(count):
            self.hub.publish(self.channel, PAYLOAD, kind=Kind.TEXT, time=0.0)

    def sweep(self) -> None:
        self.sweeper.flush(self.channel)

    def close(self) -> None:
        self.loop.close()


class CursorObjects:
    """The twin of the ready group: each client has a cursor of its own, looked at and moved in every sweep."""

    def __init__(self, scene: Scene, fds: Sequence[int]) -> None:
        self.log = scene.channel.log
        self.clients = [(fd, Queue(self.log, cursor=self.log.head, max_messages=1000, max_bytes=1 << 30)) for fd in fds]

    def sweep(self) -> None:
        head, cached, data = self.log.head, -1, b""
        for fd, queue in self.clients:
            cursor = queue._cursor
            if cursor != head:
                if cursor != cached:
                    cached, data = cursor, join(self.log.read(cursor, max_bytes=1 << 30), plain_frame)
                if os.write(fd, data) == len(data):
                    queue._cursor = head


class TaskPerClient:
    """The twin of the sweep: an `asyncio.Queue` and a task for each client, all woken by each publication."""

    def __init__(self, fds: Sequence[int]) -> None:
        self.queues: list[asyncio.Queue[bytes]] = [asyncio.Queue(1000) for _ in fds]
        self.tasks = [
            asyncio.get_running_loop().create_task(self._write(fd, queue))
            for fd, queue in zip(fds, self.queues, strict=True)
        ]

    async def _write(self, fd: int, queue: asyncio.Queue[bytes]) -> None:
        while True:
            os.write(fd, await queue.get())
            queue.task_done()

    async def broadcast(self, count: int) -> None:
        for _ in range(count):
            data = Frame(Opcode.TEXT, PAYLOAD).serialize(mask=False)
            for queue in self.queues:
                queue.put_nowait(data)
        for queue in self.queues:
            await queue.join()


class TutorialLoop:
    """What Fanwise replaces: `for client in clients: await client.send_text(...)`, on real Starlette WebSockets."""

    def __init__(self, fds: Sequence[int]) -> None:
        self.websockets = [self._accepted(fd) for fd in fds]

    def _accepted(self, fd: int) -> WebSocket:
        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:  # what every server does with it, at the least
            if message["type"] == "websocket.send":
                os.write(fd, Frame(Opcode.TEXT, message["text"].encode()).serialize(mask=False))

        return WebSocket({"type": "websocket"}, receive, send)

    async def accept(self) -> None:
        for websocket in self.websockets:
            await websocket.accept()

    async def broadcast(self, count: int) -> None:
        text = PAYLOAD.decode()
        for _ in range(count):
            for websocket in self.websockets:
                await websocket.send_text(text)

"""A server that does what a test tells it to, frame by frame, and one that keeps logs and cuts connections."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from ssl import SSLContext
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from fanwise.client.client import FanwiseClient, Position

WELCOME = {"op": "welcome", "client": "c1", "version": "0.1.0", "max_message_bytes": 65536, "max_subscriptions": 1000}


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.gone = asyncio.Event()

    async def say(self, op: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"op": op, **fields}))

    async def hear(self) -> dict[str, Any]:
        request: dict[str, Any] = json.loads(await self.connection.recv())
        return request

    async def message(self, channel: str, offset: int, data: Any = None) -> None:
        await self.say("message", channel=channel, offset=offset, data=offset if data is None else data)

    async def subscribed(self, channel: str, epoch: str, offset: int, *, recovered: bool = False) -> None:
        await self.say("subscribed", channel=channel, epoch=epoch, offset=offset, recovered=recovered)

    async def close(self, code: int, reason: str = "") -> None:
        await self.connection.close(code, reason)

    async def cut(self) -> None:
        """The connection is lost without a word; returns when this end knows."""
        self.connection.transport.abort()
        await self.connection.wait_closed()


class Scripted:
    """Takes connections in, or refuses them, as told."""

    def __init__(self) -> None:
        self.port = 0
        self.greeting: dict[str, Any] | None = WELCOME
        self.refusals: deque[tuple[int, dict[str, str], str]] = deque()  # (status, headers, text) for the next ones
        self.requests: list[Request] = []
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._over = asyncio.Event()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    async def accept(self) -> Peer:
        """The next connection, after its welcome."""
        return await self._peers.get()

    def judge(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if not self.refusals:
            return None
        status, headers, text = self.refusals.popleft()
        response = connection.respond(status, text)
        for name, value in headers.items():
            response.headers[name] = value
        return response

    async def handle(self, connection: ServerConnection) -> None:
        if self.greeting is not None:
            await connection.send(json.dumps(self.greeting))
        await self._peers.put(Peer(connection))
        closed = asyncio.create_task(connection.wait_closed())
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait([closed, over], return_when=asyncio.FIRST_COMPLETED)
        closed.cancel()
        over.cancel()

    def end(self) -> None:
        self._over.set()


@asynccontextmanager
async def listening(
    handle: Callable[[ServerConnection], Any],
    judge: Callable[[ServerConnection, Request], Response | None] = lambda _connection, _request: None,
    *,
    subprotocols: tuple[str, ...] = ("fanwise.v1",),
    ssl: SSLContext | None = None,
) -> AsyncIterator[Server]:
    """A WebSocket server on a free port."""
    async with serve(
        handle,
        "127.0.0.1",
        0,
        ssl=ssl,
        process_request=judge,
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        compression=None,
        close_timeout=1,
    ) as server:
        yield server


@asynccontextmanager
async def scripted(*, subprotocols: tuple[str, ...] = ("fanwise.v1",)) -> AsyncIterator[Scripted]:
    """A scripted server on a free port."""
    script = Scripted()
    async with listening(script.handle, script.judge, subprotocols=subprotocols) as server:
        script.port = server.sockets[0].getsockname()[1]
        try:
            yield script
        finally:
            script.end()


class Naps:
    """What backoff is given to sleep with: it remembers, and goes on in the loop's next turn."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


def client_for(url: str, **options: Any) -> FanwiseClient:
    """A client that does not wait between attempts, and draws half of what backoff allows."""
    defaults: dict[str, Any] = {"sleep": Naps(), "random": lambda: 0.5, "proxy": None, "close_seconds": 1.0}
    return FanwiseClient(url, **{**defaults, **options})


@asynccontextmanager
async def talking(**options: Any) -> AsyncIterator[tuple[Scripted, FanwiseClient, Peer]]:
    """A client subscribed to the lobby at e:5, and the server's end of it."""
    async with scripted() as server, client_for(server.url, **options) as client:
        yield server, client, await subscribed(server, client)


async def subscribed(server: Scripted, client: FanwiseClient, channel: str = "lobby") -> Peer:
    asking = asyncio.create_task(client.subscribe(channel))
    peer = await server.accept()
    assert await peer.hear() == {"op": "subscribe", "channel": channel}
    await peer.subscribed(channel, "e", 5)
    assert await asking == Position("e", 5)
    return peer


async def again(server: Scripted, since: int, *, epoch: str = "e") -> Peer:
    """The next connection, on which the client asks for what comes after `since`, and gets it."""
    peer = await server.accept()
    assert await peer.hear() == {"op": "subscribe", "channel": "lobby", "since": {"epoch": epoch, "offset": since}}
    await peer.subscribed("lobby", epoch, since, recovered=True)
    return peer


async def offsets(client: FanwiseClient, number: int) -> list[int]:
    return [(await anext(client)).offset for _ in range(number)]


async def publishing(server: Scripted, client: FanwiseClient, data: Any = "x") -> tuple[asyncio.Task[Position], Peer]:
    """A first publish under way, and the server's end of its connection."""
    task = asyncio.create_task(client.publish("lobby", data))
    return task, await server.accept()


async def flood(peer: Peer, first: int, last: int, characters: int = 1000) -> None:
    for offset in range(first, last + 1):
        await peer.message("lobby", offset, "x" * characters)


class Unreliable:
    """Keeps a log per channel, answers in the dialect, and cuts each connection after a random number of frames.

    Now and then a log forgets its beginning, or is replaced by a new one.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.port = 0
        self.cuts = 0
        self.reliable = False
        self.logs: dict[tuple[str, str], list[Any]] = {}  # {(channel, epoch): payloads from offset 1}
        self.epochs: dict[str, str] = {}  # {channel: epoch of its log}
        self.forgotten: dict[str, int] = {}  # {channel: how many of its log's first publications}
        self._cursors: dict[ServerConnection, dict[str, int]] = {}
        self._more = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def log(self, channel: str) -> list[Any]:
        if channel not in self.epochs:
            self.replace(channel)
        return self.logs[channel, self.epochs[channel]]

    def replace(self, channel: str) -> None:
        """A new log, as after a restart."""
        epoch = f"e{len(self.logs)}"
        self.epochs[channel] = epoch
        self.forgotten[channel] = 0
        self.logs[channel, epoch] = []

    async def handle(self, connection: ServerConnection) -> None:
        self._cursors[connection] = {}
        left = self.random.randint(1, 60)  # frames until the cut
        writer = asyncio.create_task(self._write(connection, left))
        try:
            async for frame in connection:
                await self._answer(connection, json.loads(frame))
        except ConnectionClosed:
            pass
        finally:
            writer.cancel()
            del self._cursors[connection]

    def misbehave(self) -> None:
        """Logs forget their beginning, or are replaced: those who come back find it out."""
        for channel in list(self.epochs):
            if self.random.random() < 0.02:
                self.replace(channel)
                for connection, cursors in self._cursors.items():
                    cursors.clear()
                    connection.transport.abort()
            elif self.random.random() < 0.2:
                self.forgotten[channel] = self.random.randint(self.forgotten[channel], len(self.log(channel)))

    async def _say(self, connection: ServerConnection, **fields: Any) -> None:
        await connection.send(json.dumps(fields))

    async def _answer(self, connection: ServerConnection, request: dict[str, Any]) -> None:
        channel = request["channel"]
        log, epoch = self.log(channel), self.epochs[channel]
        if request["op"] == "subscribe":
            since: dict[str, Any] = request.get("since", {"epoch": epoch, "offset": len(log)})
            low = self.forgotten[channel]
            begin = since["offset"] if since["epoch"] == epoch else 0
            gap = since["epoch"] != epoch or begin < low
            await self._say(
                connection,
                op="subscribed",
                channel=channel,
                epoch=epoch,
                offset=begin,
                recovered=not gap,
            )
            if gap:
                reason = "history" if since["epoch"] == epoch else "epoch"
                fields = {"from": begin + 1, "to": max(begin, low), "reason": reason}
                await self._say(connection, op="gap", channel=channel, epoch=epoch, **fields)
            if self.epochs[channel] == epoch:
                repeated = self.random.randint(0, 2)  # and now and then something comes twice
                self._cursors[connection][channel] = max(begin - repeated, low)
        elif request["op"] == "publish":
            log.append(request["data"])
            if self.random.random() < 0.05 and not self.reliable:
                self.cuts += 1
                connection.transport.abort()  # published, and nobody learns of it
            else:
                offset = len(log)
                await self._say(
                    connection, op="published", id=request["id"], channel=channel, epoch=epoch, offset=offset
                )
        async with self._more:
            self._more.notify_all()

    async def _write(self, connection: ServerConnection, left: int) -> None:
        try:
            await connection.send(json.dumps(WELCOME))
            while True:
                sent = False
                for channel, cursor in list(self._cursors[connection].items()):
                    log = self.log(channel)
                    if cursor < len(log):
                        sent = True
                        left -= 1
                        if left < 0 and not self.reliable:
                            self.cuts += 1
                            connection.transport.abort()
                            return
                        self._cursors[connection][channel] = cursor + 1
                        await self._say(connection, op="message", channel=channel, offset=cursor + 1, data=log[cursor])
                if not sent:
                    async with self._more:
                        await self._more.wait()
        except ConnectionClosed:
            pass


@asynccontextmanager
async def unreliable(seed: int) -> AsyncIterator[Unreliable]:
    """An unreliable server on a free port."""
    script = Unreliable(seed)
    async with listening(script.handle) as server:
        script.port = server.sockets[0].getsockname()[1]
        yield script

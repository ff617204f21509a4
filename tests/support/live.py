"""A real uvicorn on real sockets inside the test's own event loop, and WebSocket clients for it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self, cast

import uvicorn
from fastapi import APIRouter, FastAPI, WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from fanwise import Broadcaster
from fanwise.transport.acceptor import Acceptor, Descriptors
from fanwise.transport.door import Door
from fanwise.transport.http_protocol import FanwiseHttpProtocol
from fanwise.transport.limits import Limits
from fanwise.transport.newcomer import protocol_maker
from fanwise.transport.places import PlaceLimits, Places
from fanwise.transport.websocket_connection import WebSocketConnection
from fanwise.transport.websocket_protocol import FanwiseProtocol


class Answer(NamedTuple):
    """What a request was answered with."""

    status: int
    headers: dict[str, str]  # {name in lower case: value}
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error."""
        return str(self.json["error"]["code"])


class Talk:
    """A client of the JSON dialect."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.welcome: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.websocket.close()

    async def hear(self) -> dict[str, Any]:
        heard = json.loads(await self.websocket.recv())
        assert isinstance(heard, dict)
        return heard

    async def say(self, **op: Any) -> None:
        await self.websocket.send(json.dumps(op))

    async def ask(self, **op: Any) -> dict[str, Any]:
        """Says something, and returns what is heard next."""
        await self.say(**op)
        return await self.hear()


class Event(NamedTuple):
    """One Server-Sent Event, as a browser understands it."""

    name: str
    id: str
    data: str
    retry: str


class Events:
    """Reads an event stream (WHATWG HTML, section 9.2.6) out of a chunked body."""

    def __init__(self, reader: asyncio.StreamReader, head: str) -> None:
        self._reader = reader
        self.head = head
        self.comments = 0
        self._text = ""

    async def _more(self) -> bool:
        size = int((await self._reader.readuntil(b"\r\n")).strip(), 16)
        self._text += (await self._reader.readexactly(size + 2))[:-2].decode()
        return size > 0

    async def next(self) -> Event | None:
        """The next event; None at the end of the stream. Comments are counted."""
        while True:
            while "\n\n" not in self._text:
                if not await self._more():
                    return None
            block, _, self._text = self._text.partition("\n\n")
            fields: dict[str, list[str]] = {}
            for line in block.split("\n"):
                name, _, value = line.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
            if "data" not in fields:
                self.comments += 1
                continue
            last = {name: values[-1] for name, values in fields.items()}
            return Event(
                last.get("event", "message"), last.get("id", ""), "\n".join(fields["data"]), last.get("retry", "")
            )


class Live:
    """A running server: its port, and uvicorn's own view of it."""

    def __init__(self, server: uvicorn.Server, port: int) -> None:
        self.server = server
        self.port = port

    @property
    def websockets(self) -> list[WebSocketConnection]:
        """The WebSockets whose handshake was answered."""
        connections: set[Any] = self.server.server_state.connections
        return [one for one in connections if type(one) is WebSocketConnection]

    async def connect(self, path: str = "/ws", **options: Any) -> ClientConnection:
        """A client that answers pings, with the library's own small buffers."""
        return await connect(f"ws://127.0.0.1:{self.port}{path}", compression=None, proxy=None, **options)

    async def talk(self, **options: Any) -> Talk:
        """A client of the JSON dialect, after its welcome."""
        talk = Talk(await self.connect(subprotocols=[Subprotocol("fanwise.v1")], **options))
        talk.welcome = await talk.hear()
        return talk

    async def request(
        self, method: str, path: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Sends a request and reads the whole answer."""
        given = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", "Content-Length": str(len(body))}
        lines = [
            f"{method} {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in {**given, **(headers or {})}.items()),
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        status, *fields = head.decode().split("\r\n")
        named = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        body_of = unchunked if named.get("transfer-encoding") == "chunked" else bytes
        return Answer(int(status.split()[1]), named, body_of(rest))

    @asynccontextmanager
    async def events(self, path: str, *, headers: Mapping[str, str] | None = None) -> AsyncIterator[Events]:
        """An open event stream."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{extra}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        try:
            yield Events(reader, head.decode())
        finally:
            writer.close()

    async def get(self, path: str) -> bytes:
        """The whole answer to a GET request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer

    async def raw(self, path: str = "/ws", *, receive_buffer: int | None = None) -> socket.socket:
        """A socket after its handshake, which does whatever the test does with it and nothing else."""
        peer = socket.socket()
        if receive_buffer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        peer.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(peer, ("127.0.0.1", self.port))
        await loop.sock_sendall(peer, handshake(path))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await loop.sock_recv(peer, 1)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        return peer


_BUSY_TURNS = 200  # of the loop, before a wait leaves the processor to others
_PAUSE_SECONDS = 0.001  # more at each turn: who has waited for long is not in a hurry
_MAX_PAUSE_SECONDS = 0.01


def unchunked(body: bytes) -> bytes:
    """The data of a chunked body (RFC 9112 section 7.1) that is here as a whole."""
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        found, body = found + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return found


def handshake(path: str) -> bytes:
    """A WebSocket handshake request (RFC 6455 section 4.1, with its example key)."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


LOOK_SECONDS = 0.005


class PromptServer(uvicorn.Server):
    """Stops at once, and leaves no connection behind.

    uvicorn's own looks ten times a second whether it is to stop, which is most of a short test.

    Args:
        config: uvicorn's.
        ours: Whether it accepts as `fanwise serve` does: connections go through our acceptor.
    """

    def __init__(self, config: uvicorn.Config, *, ours: bool = False) -> None:
        super().__init__(config)
        self._ours = ours

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[] if self._ours else sockets)
        for listener in sockets or [] if self._ours else []:
            maker = protocol_maker(self.config, self.server_state, self.lifespan.state)
            places = Places(PlaceLimits(), count=lambda _: None)
            acceptor = Acceptor(listener, maker, places=places, descriptors=Descriptors(1 << 20), tls=self.config.ssl)
            self.servers.append(cast("asyncio.Server", acceptor))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops, and aborts the connections that are left.

        uvicorn knows nothing of a connection that is accepted while it stops. The socket would stay open in this
        process with nobody to read it, and a browser would send its next request there.
        """
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # in which the event loop closes their sockets

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:  # noqa: ASYNC110 - a flag that others set
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def running(
    app: FastAPI,
    *,
    fast: bool = True,
    ssl_certfile: str | None = None,
    limits: Limits | None = None,
    door: Door | None = None,
    ping_seconds: float = 20.0,
    pong_seconds: float = 20.0,
    deflate: bool = False,
    ours: bool = False,
) -> AsyncIterator[Live]:
    """Serves `app` on a free port while the context lasts; `fast` says whether with our protocol class.

    `ours` says whether connections come through our acceptor, as those of `fanwise serve` do.
    `deflate` says whether handshakes may agree on permessage-deflate.
    """
    bounds = {} if limits is None else {"limits": limits}
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        ws=type("Protocol", (FanwiseProtocol,), bounds) if fast else "websockets-sansio",
        http=type("HttpProtocol", (FanwiseHttpProtocol,), {**bounds, "door": door}) if fast else "httptools",
        ws_per_message_deflate=deflate,
        proxy_headers=False,
        log_config=None,
        ssl_certfile=ssl_certfile,
        timeout_graceful_shutdown=1,
        ws_ping_interval=ping_seconds,
        ws_ping_timeout=pong_seconds,
    )
    server = PromptServer(config, ours=ours)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started or task.done())
    try:
        yield Live(server, listener.getsockname()[1])
    finally:
        server.should_exit = True
        await task


def app_of(router: APIRouter, *, prefix: str = "") -> FastAPI:
    """An application with the routes of `router` as its own, or included: FastAPI builds included routes twice."""
    if prefix:
        app = FastAPI()
        app.include_router(router, prefix=prefix)
    else:
        app = FastAPI(lifespan=router.lifespan_context)
        app.router.routes += router.routes
    return app


def echo(*, name: Callable[[WebSocket], str] = lambda _: "lobby", **settings: Any) -> tuple[FastAPI, Broadcaster]:
    """An application that publishes each message to the channel of its client: `name` of the connection."""
    broadcaster = Broadcaster(**settings)
    asgi = FastAPI(lifespan=broadcaster.lifespan)

    async def endpoint(websocket: WebSocket) -> None:
        channel = name(websocket)
        async with broadcaster.connect(websocket, channel=channel) as client:
            async for message in client:
                await broadcaster.publish(channel, message)

    asgi.add_api_websocket_route("/ws", endpoint)
    return asgi, broadcaster


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until `condition` holds; the test's own time limit ends a wait that is in vain."""
    turns = 0
    while not condition():  # noqa: ASYNC110, RUF100 - what it waits for has no event that a test could reach
        turns += 1
        pauses = max(0, turns - _BUSY_TURNS)
        await asyncio.sleep(min(pauses * _PAUSE_SECONDS, _MAX_PAUSE_SECONDS))

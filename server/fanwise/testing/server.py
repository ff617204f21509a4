"""An application under a real uvicorn on loopback, in a thread of its own, and the clients of a test.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Literal, TypeVar

import uvicorn
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..embedding import Broadcaster
from ..errors import FanwiseError
from ..protocol import FanwiseHttpProtocol, FanwiseProtocol
from .clients import PausingClient, ReadingClient, SlowClient, StalledClient, TestingClient
from .dropped import CAUSES, cause_of, check_cause, why_not
from .isolation import Isolation, Probe, judge
from .watch import LoopWatch

Value = TypeVar("Value")
AnyClient = TypeVar("AnyClient", bound=TestingClient)
Application = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]
Loop = Literal["auto", "asyncio", "uvloop"]
_HOST: Final = "127.0.0.1"
_LOOK_SECONDS: Final = 0.01
_TURNS: Final = 8
_SWITCH_SECONDS: Final = 0.0005


class StartError(FanwiseError, RuntimeError):
    """The application's lifespan has failed; with the application's own traceback, if it gave one."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said

    def __str__(self) -> str:
        return f"the application did not start: {self.said or 'its lifespan ended early'}"


class Server:
    """A server that runs, and the clients of a test. All methods may be called in any thread but the server's.

    Args:
        port: On 127.0.0.1.
        portal: The way to its event loop.
        broadcaster: The application's; None: unknown.

    Attributes:
        port: On 127.0.0.1.
        clients: The clients that were connected here and are not closed yet.
    """

    def __init__(self, port: int, portal: BlockingPortal, broadcaster: Broadcaster | None) -> None:
        self.port = port
        self.clients: list[TestingClient] = []
        self._portal = portal
        self._broadcaster = broadcaster

    @property
    def broadcaster(self) -> Broadcaster:
        """The application's broadcaster; most of its methods belong to the server's thread: see `call` and `run`.

        Raises AssertionError if it is unknown.
        """
        __tracebackhide__ = True
        if self._broadcaster is None:
            raise AssertionError("this asks for the application's broadcaster: serving(app, broadcaster=...)")
        return self._broadcaster

    def url(self, path: str = "/ws", *, scheme: str = "ws") -> str:
        """Returns the URL of a path: "ws://127.0.0.1:8000/ws"."""
        return f"{scheme}://{_HOST}:{self.port}{path}"

    def call(self, function: Callable[..., Value], *args: Any) -> Value:
        """Returns what a synchronous function returns, called on the server's event loop."""
        return self._portal.call(function, *args)

    def run(self, coroutine: Coroutine[Any, Any, Value]) -> Value:
        """Returns what a coroutine returns, run on the server's event loop."""

        async def wrapped() -> Value:
            return await coroutine

        return self._portal.call(wrapped)

    def wait_until(self, condition: Callable[[], bool], *, within_seconds: float = 5.0) -> None:
        """Waits until `condition` holds, which is called on the server's event loop again and again.

        Raises AssertionError if the time is up.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + within_seconds
        while not self._portal.call(condition):
            if time.monotonic() > deadline:
                raise AssertionError(f"the condition did not hold within {within_seconds:g} s")
            time.sleep(_LOOK_SECONDS)

    def reading_client(self, path: str = "/ws", **options: Any) -> ReadingClient:
        """Connects a client that reads at once. `options`: those of `TestingClient`."""
        return self._keep(ReadingClient(self.url(path), on_close=self._forget, **options))

    def stalled_client(self, path: str = "/ws", **options: Any) -> StalledClient:
        """Connects a client that reads nothing."""
        return self._keep(StalledClient(self.url(path), on_close=self._forget, **options))

    def slow_client(self, path: str = "/ws", *, rate: float, **options: Any) -> SlowClient:
        """Connects a client that reads `rate` bytes per second."""
        return self._keep(SlowClient(self.url(path), rate=rate, on_close=self._forget, **options))

    def pausing_client(self, path: str = "/ws", *, seconds: float, **options: Any) -> PausingClient:
        """Connects a client that reads nothing for `seconds`, and all from then on."""
        return self._keep(PausingClient(self.url(path), seconds=seconds, on_close=self._forget, **options))

    def vanishing_client(self, path: str = "/ws", **options: Any) -> ReadingClient:
        """Connects a client, which is gone without a closing handshake when this returns."""
        client = self.reading_client(path, **options)
        client.vanish()
        return client

    def burst_publisher(self, messages: int = 1000, *, size: int = 100, channel: str = "lobby") -> list[str]:
        """Publishes numbered texts of `size` bytes as fast as `Broadcaster.publish` lets it; returns them."""
        __tracebackhide__ = True
        texts = [f"{number:08}".ljust(size, "x") for number in range(messages)]
        broadcaster = self.broadcaster

        async def publish() -> None:
            for text in texts:
                await broadcaster.publish(channel, text)

        self._portal.call(publish)
        return texts

    def assert_isolated(
        self,
        path: str = "/ws",
        *,
        p99_ms: float,
        channel: str | None = None,
        publish: Callable[[str], object] | None = None,
        message: Callable[[str], str] = str,
        publications: int = 200,
        per_second: float = 200.0,
        size: int = 16_384,
        readers: int = 2,
        within_seconds: float = 5.0,
        **options: Any,
    ) -> Isolation:
        """Asserts that publications reach clients that read within `p99_ms`, and returns what was measured.

        Texts are published at a pace, and timed to new clients of `path` that read. Other clients of the test,
        stalled ones for example, do meanwhile what they do.

        Args:
            path: Of the clients that read, and of the publisher.
            p99_ms: The most that 99 of 100 deliveries may take, from when their publication was due.
            channel: Where the broadcaster publishes; None: a client of `path` sends each text to the application.
            publish: Called with each text, in place of both.
            message: Makes of a text what the client sends: an operation of the JSON dialect, for example.
            publications: How many.
            per_second: Their pace.
            size: Of a text, in bytes; together they have to be more than kernels take for a client that does not read.
            readers: How many clients read.
            within_seconds: The longest wait for one more delivery.
            options: Those of `TestingClient`, for the readers and the publisher.

        Raises:
            AssertionError: Deliveries were late, or did not come; the text says what was seen and what is allowed.
        """
        __tracebackhide__ = True
        others = [client for client in self.clients if client.misbehaves]
        watch, near = LoopWatch(), [self.reading_client(path, **options) for _ in range(readers)]
        if publish is None and channel is None:
            near.append(self.reading_client(path, **options))
            sender = near[-1]
            publish = lambda text: sender.send(message(text), within_seconds=within_seconds)  # noqa: E731 - one of three
        elif publish is None:
            broadcaster, name = self.broadcaster, str(channel)
            publish = lambda text: broadcaster.publish_threadsafe(name, text).result(within_seconds)  # noqa: E731
        self._portal.call(watch.start)
        try:
            probe = Probe(publish, near[:readers], watch, size=size, per_second=per_second)
            seen = probe.measure(publications, within_seconds=within_seconds)
        finally:
            for client in near:
                client.close()
            self._portal.call(watch.stop)
        wrong = judge(seen, p99_ms=p99_ms, readers=readers, url=self.url(path), others=others)
        if wrong is not None:
            raise AssertionError(wrong)
        return seen

    def assert_dropped(self, *clients: TestingClient, within_seconds: float, cause: str | None = None) -> None:
        """Asserts that the broadcaster drops clients in time, and with `cause`.

        Args:
            clients: Which; by default all clients of this server that misbehave.
            within_seconds: From now on.
            cause: The name of a close reason: "slow", "stalled", "memory", "no_pong" and others. None: any.

        Raises:
            AssertionError: A client was not dropped, or with another cause; the text says how far behind it is.
            ValueError: No close reason has this name.
        """
        __tracebackhide__ = True
        check_cause(cause)
        deadline = time.monotonic() + within_seconds
        asked = list(clients) or [client for client in self.clients if client.misbehaves]
        if not asked:
            raise AssertionError("nothing to assert: no stalled, slow or pausing client was connected")
        for client in asked:
            seen = self._wait_dropped(client, deadline, within_seconds)
            if cause not in (None, seen):
                ours = f"{cause} ({CAUSES[cause].text})" if cause else ""
                raise AssertionError(f"{client} was dropped with cause {seen} ({CAUSES[seen].text}), not with {ours}")

    def _wait_dropped(self, client: TestingClient, deadline: float, within_seconds: float) -> str:
        __tracebackhide__ = True
        broadcaster = self.broadcaster
        while (seen := self._portal.call(cause_of, broadcaster, client)) is None:
            if time.monotonic() > deadline:
                why = self._portal.call(why_not, broadcaster, client)
                raise AssertionError(f"{client} was not dropped within {within_seconds:g} s: {why}")
            time.sleep(_LOOK_SECONDS)
        return seen

    def _keep(self, client: AnyClient) -> AnyClient:
        """Returns the client when the application has gone on behind the handshake: it has put it on a channel."""
        self.clients.append(client)
        self._portal.call(_turns)
        return client

    def _forget(self, client: TestingClient) -> None:
        if client in self.clients:
            self.clients.remove(client)


async def _turns() -> None:
    """Lets the event loop turn a few times."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class _PromptServer(uvicorn.Server):
    """uvicorn's server, which starts to stop at once, and leaves no connection behind."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts. Raises StartError where uvicorn would end the process."""
        try:
            await super().startup(sockets)
        except SystemExit:
            raise StartError("") from None

    async def main_loop(self) -> None:
        """Waits for `stopping`: uvicorn's own loop looks ten times a second."""
        await self.on_tick(0)
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops, and aborts the connections that are left."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # in which the event loop closes their sockets


@asynccontextmanager
async def _served(app: Application, listener: socket.socket, config: Mapping[str, Any]) -> AsyncIterator[None]:
    """Serves `app` while the context lasts. Raises StartError if its lifespan fails."""
    said: list[str] = []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        async def note(message: Any) -> None:
            said.append(message.get("message", ""))
            await send(message)

        await app(scope, receive, note if scope["type"] == "lifespan" else send)

    server = _PromptServer(uvicorn.Config(asgi, log_config=None, proxy_headers=False, **config))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.001)
    try:
        if not server.started:
            raise StartError("".join(said).strip())
        yield
    finally:
        server.stopping.set()
        with suppress(StartError):
            await task


@contextmanager
def serving(
    app: Application,
    *,
    broadcaster: Broadcaster | None = None,
    loop: Loop = "auto",
    plain_asgi: bool = False,
    ping_seconds: float = 20.0,
    pong_seconds: float = 20.0,
) -> Iterator[Server]:
    """Serves an application on a free port of 127.0.0.1 while the context lasts, in a thread of its own.

    Args:
        app: The application: FastAPI, Starlette, or another ASGI application.
        broadcaster: The application's broadcaster, for `burst_publisher` and `assert_dropped`.
        loop: The event loop; "auto": uvloop where it is installed.
        plain_asgi: Whether to leave out the protocol classes of `fanwise.protocol`.
        ping_seconds: How often WebSockets are pinged.
        pong_seconds: How long a pong may take.

    Raises:
        StartError: The application's lifespan has failed.
    """
    config: dict[str, Any] = {
        "ws": "websockets-sansio" if plain_asgi else FanwiseProtocol,
        "http": "httptools" if plain_asgi else FanwiseHttpProtocol,
        "ws_ping_interval": ping_seconds,
        "ws_ping_timeout": pong_seconds,
        "timeout_graceful_shutdown": 1,
    }
    uvloop = _has_uvloop() if loop == "auto" else loop == "uvloop"
    with (
        _quick_threads(),
        socket.create_server((_HOST, 0)) as listener,
        start_blocking_portal("asyncio", {"use_uvloop": uvloop}) as portal,
        portal.wrap_async_context_manager(_served(app, listener, config)),
    ):
        server = Server(listener.getsockname()[1], portal, broadcaster)
        try:
            yield server
        finally:
            for client in list(server.clients):
                client.close()


@contextmanager
def _quick_threads() -> Iterator[None]:
    """Has the threads of this process take short turns: a delay is to be the server's, not the interpreter's."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401, PLC0415 - where it is installed
    except ImportError:
        return False
    return True

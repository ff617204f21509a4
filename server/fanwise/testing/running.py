"""Runs an application under uvicorn on loopback, in a thread of its own.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Literal, TypeAlias

import uvicorn
from anyio.from_thread import start_blocking_portal

from ..embedding import Broadcaster
from ..errors import FanwiseError
from ..protocol import FanwiseHttpProtocol, FanwiseProtocol
from .server import HOST, Server

Application: TypeAlias = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]
Loop: TypeAlias = Literal["auto", "asyncio", "uvloop"]
_SWITCH_SECONDS: Final = 0.0005
_CONFIG: Final[dict[str, Any]] = {"log_config": None, "proxy_headers": False, "timeout_graceful_shutdown": 1}


class StartError(FanwiseError, RuntimeError):
    """The application's lifespan has failed; with the application's own traceback, if it gave one."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said

    def __str__(self) -> str:
        return f"the application did not start: {self.said or 'its lifespan ended early'}"


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

    server = _PromptServer(uvicorn.Config(asgi, **_CONFIG, **config))
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
    config: dict[str, Any] = {"ws_ping_interval": ping_seconds, "ws_ping_timeout": pong_seconds}
    if not plain_asgi:
        config |= {"ws": FanwiseProtocol, "http": FanwiseHttpProtocol}
    uvloop = _has_uvloop() if loop == "auto" else loop == "uvloop"
    with (
        _quick_threads(),
        socket.create_server((HOST, 0)) as listener,
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

"""`fanwise serve`: uvicorn with acceptors, drain and collector settings for fan-out."""

from __future__ import annotations

import asyncio
import base64
import gc
import inspect
import logging
import resource
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from types import FrameType
from typing import Any, cast

import uvicorn
from anyio.lowlevel import checkpoint
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from .app import create_app, door_of, limits, socket_options, tokens
from .backplane.urls import check, passwords, shown
from .backplane.workers.member import Member, Order
from .broadcaster.node import Node
from .core.codes import ErrorCode
from .core.roles import read_keys
from .errors import DrainingError, FullError, SettingsError
from .logs.events import Event, log
from .logs.formatting import log_config, take_over
from .logs.limiter import log_left_out
from .protocol import FanwiseHttpProtocol, FanwiseProtocol
from .settings import Settings, flag, variable
from .transport.acceptor import Acceptor, Descriptors
from .transport.addresses import is_loopback
from .transport.newcomer import protocol_maker
from .transport.places import PlaceLimits, Places
from .transport.proxies import TrustedProxies
from .transport.refusals import RefusedError
from .transport.sweep_writer import Mode, open_writer
from .version import SERVER_VERSION

# A full collection walks every object of every connection: hundreds of milliseconds with 10,000 clients. Ended
# connections rarely refer to themselves, so rare ones are enough (`benchmarks/test_gc.py`). Collections of the youngest
# 4,000 objects take up to 4 ms, of the 32,000 next ones up to 16 ms.
GC_THRESHOLDS = (4_000, 8, 75_000)
# After the drain uvicorn closes connections, and cancels requests after GRACE_SECONDS.
GRACE_SECONDS = 1
ABORT_SECONDS = 0.6
CLIENT_PATH = b"/ws"  # whose connections take places of `max_clients`
# What is answered when clients have all descriptors: probes, publishers and operators.
SHORT_PATHS = ("/healthz", "/readyz", "/metrics", "/stats", "/publish", "/clients", "/channels")
# {what publishing or reading asks for: what the banner says of that}
_ASKED = {
    "open": "open to everybody who reaches this address",
    "key": "with the key",
    "token": "with a token, or the key",
}
# A JSON string may be six times as long as what it stands for (\\u00e9), and has the rest of a message around it.
_ESCAPED, _ENVELOPE_BYTES = 6, 4_096


class FanwiseServer(uvicorn.Server):
    """uvicorn's server with acceptors of ours, which drains before it stops, and tunes the garbage collector.

    Args:
        config: What is asked of uvicorn.
        broadcaster: Its clients leave before the server stops.
        places: The places of connections.
        drain_seconds: How long clients may take to leave.
        facts: The fields of `Event.STARTED`.
        member: What the server is of the workers of a launcher; None: it is alone.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        broadcaster: Node,
        *,
        places: Places,
        drain_seconds: float,
        facts: Mapping[str, Any],
        member: Member | None = None,
    ) -> None:
        super().__init__(config)
        self._broadcaster = broadcaster
        self._places = places
        self._drain_seconds = drain_seconds
        self._facts = facts
        self._member = member
        self._started_at = time.monotonic()
        self._signals = 0
        self._aborted = 0  # connections
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application, tunes the collector of this process, and accepts connections."""
        await super().startup(sockets=[])  # uvicorn is to accept none: it would take all that wait in one turn
        await checkpoint()  # imports anyio's half for asyncio; the first request would hold the loop for 30 ms with it
        warm_up()
        tune_gc()
        if self.started:
            self.servers += [cast("asyncio.Server", self._accept_from(listener)) for listener in sockets or []]
            self._started_at = time.monotonic()
            log(Event.STARTED, **self._facts)
            if self._member is not None:
                self._member.start(self._obey)

    def _accept_from(self, listener: socket.socket) -> Acceptor:
        return Acceptor(
            listener,
            protocol_maker(self.config, self.server_state, self.lifespan.state),
            places=self._places,
            descriptors=Descriptors.of_process(),
            tls=self.config.ssl,
            backlog=self.config.backlog,
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Asks for the drain at the first SIGTERM or SIGINT, and ends the drain at the second. Both exits are clean.

        A worker leaves the second to its launcher: some supervisors send a signal to both.
        """
        self._signals += 1
        if self._signals > 1 and self._member is None:
            self.should_exit = True

    def _obey(self, order: Order) -> None:
        """Does what the launcher has asked for."""
        self._signals += 1
        if order is Order.STOP:
            self.should_exit = True
        elif order is Order.HAND_OVER and self._member is not None:
            for acceptor in self.servers:
                acceptor.close()
            self.servers = []
            self._member.listener.close()

    async def on_tick(self, counter: int) -> bool:
        """Starts the drain that a signal has asked for; returns whether the server is to stop. Runs every 0.1 s."""
        if self._signals and self._draining is None:
            log(Event.STOPPING, clients=len(self._broadcaster), seconds=self._drain_seconds)
            self._draining = asyncio.create_task(self._broadcaster.drain(seconds=self._drain_seconds))
        drained = self._draining is not None and self._draining.done()
        return await super().on_tick(counter) or drained

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops, and aborts the connections that are left before uvicorn cancels their requests.

        A request ends by itself when its connection is lost. A cancelled one takes a traceback in the log.
        """
        abort = asyncio.get_running_loop().call_later(ABORT_SECONDS, self._abort_left)
        try:
            await super().shutdown(sockets=sockets)
        finally:
            abort.cancel()
            if self._draining is not None:
                self._draining.cancel()
            self._abort_left()
            await asyncio.sleep(0)
            log_left_out(quiet_seconds=0)
            if self._member is not None:
                self._member.stop()
            log(Event.STOPPED, uptime_seconds=time.monotonic() - self._started_at, aborted=self._aborted)

    def _abort_left(self) -> None:
        """Aborts the connections that are left."""
        left = list(self.server_state.connections)
        self._aborted += len(left)
        for connection in left:
            connection.transport.abort()


def tune_gc() -> None:
    """Keeps collections away from the sweeps: freezes the objects of the start, and makes full collections rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def warm_up() -> None:
    """Compiles the patterns of `inspect`, by which FastAPI finds the line of an endpoint at its first request.

    The first request of a server would hold the event loop for 20 ms with them.
    """
    with suppress(OSError):  # without the source there is nothing to find, and nothing to compile
        inspect.getsourcelines(warm_up)


def raise_fd_limit() -> int:
    """Raises the soft limit on file descriptors to the hard one; returns that (RLIMIT_NOFILE, getrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def build_config(settings: Settings, app: FastAPI, *, pid: bool = False) -> uvicorn.Config:
    """Returns uvicorn's configuration: protocol classes of ours, uvloop where it is installed.

    `pid` is whether lines of the log have the process's id.
    """
    given = {
        "socket_options": socket_options(settings),
        "limits": limits(settings),
        "refused": staticmethod(app.state.broadcaster.tally.reject),
    }
    room = {"no_room": staticmethod(client_room(app.state.broadcaster))}
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop=settings.loop,
        ws=type("Protocol", (FanwiseProtocol,), given),
        http=type("HttpProtocol", (FanwiseHttpProtocol,), given | room | {"door": door_of(app)}),
        ws_max_size=_ESCAPED * settings.max_message_bytes + _ENVELOPE_BYTES,
        ws_per_message_deflate=settings.compress_from_bytes is not None,
        ws_ping_interval=settings.ping_seconds,
        ws_ping_timeout=settings.pong_seconds,
        timeout_graceful_shutdown=GRACE_SECONDS,
        log_config=log_lines(settings, pid=pid),
        log_level=settings.log_level,
        proxy_headers=False,  # `transport.proxies` reads them, if proxies are trusted
        access_log=False,  # it would write each URL with its query string
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        workers=1,
    )


def client_room(broadcaster: Node) -> Callable[[bytes], RefusedError | None]:
    """Returns what refuses a handshake of a client that has no place, before any application is asked."""

    def no_room(url: bytes) -> RefusedError | None:
        try:
            if url.partition(b"?")[0] == CLIENT_PATH:
                broadcaster.check_room()
        except FullError as error:
            return RefusedError(ErrorCode.FULL, str(error))
        except DrainingError as error:
            return RefusedError(ErrorCode.DRAINING, str(error))
        return None

    return no_room


def check_settings(settings: Settings) -> None:
    """Checks what `serve` needs beyond valid values.

    Raises:
        SettingsError: Strangers could publish, the settings ask for io_uring, and there is none, the keys of tokens
            cannot be used, or an extra is needed that is not installed.
    """
    check_exposure(settings)
    tokens(settings)
    sweep_way(settings.sweep)
    if settings.backplane is not None:
        check(settings.backplane.get_secret_value())


def check_exposure(settings: Settings) -> None:
    """Checks that strangers cannot publish, unless `open` asks for that.

    Raises:
        SettingsError: Other machines reach the address, there is no key or token, and `open` is not set.
    """
    if not (is_loopback(settings.host) or settings.publishing != "open" or settings.open):
        problem = (
            f"{variable('host')} ({flag('host')}) is {settings.host!r}, which others can reach, and everybody could "
            f"publish: set {variable('api_key')} or {variable('token_jwks')}, or say {flag('open')} if that is what "
            "you want"
        )
        raise SettingsError([problem])


def facts(settings: Settings, *, port: int, fd_limit: int) -> dict[str, Any]:
    """Returns what is in force: the fields of `Event.STARTED`."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    names = set(Event.STARTED.fields) & set(Settings.model_fields)
    return {
        **settings.model_dump(include=names),
        "version": SERVER_VERSION,
        "url": f"{'https' if settings.ssl_certfile else 'http'}://{host}:{port}",
        "publishing": settings.publishing,
        "backplane": shown(settings.backplane.get_secret_value()) if settings.backplane else "",
        "descriptors": fd_limit,
        "fast_path": not settings.ssl_certfile,
        "sweep": sweep_way(settings.sweep),
    }


@cache
def sweep_way(mode: Mode) -> str:
    """Returns how sweeps write, and why not through io_uring if they do not.

    Raises:
        SettingsError: The settings ask for io_uring, and there is none.
    """
    try:
        writer = open_writer(mode)
    except OSError as error:
        raise SettingsError([f"{variable('sweep')} ({flag('sweep')}) is 'uring': {error}"]) from error
    writer.close()
    return writer.name if not writer.why else f"{writer.name} ({writer.why})"


def banner(settings: Settings, *, port: int, fd_limit: int) -> list[str]:
    """Returns what is in force, for people: at most 12 lines."""
    known = facts(settings, port=port, fd_limit=fd_limit)
    patterns = f", {len(settings.channels)} patterns with options" if settings.channels else ""
    clients = f"{settings.max_clients}, {settings.address_connections}"
    room = Descriptors(fd_limit).short
    few = [f"  WARNING    descriptors for {room} clients only: raise ulimit -Hn, or say --max-clients {room}"]
    seconds = "" if settings.forgive_seconds is None else f" or {settings.forgive_seconds:g} s"
    width = f"{settings.queue_messages} messages or {settings.queue_bytes} bytes{seconds}"
    direct = f"yes, {known['sweep']}" if known["fast_path"] else "no: TLS is written through the transport"
    return [
        f"Fanwise {known['version']} on {known['url']}",
        f"  WebSocket  /ws?channel=NAME, without a name {settings.default_channel!r}",
        f"  queue      {width}, then {settings.overflow}",
        f"  stalled    after {settings.stall_seconds:g} s without progress, {settings.pong_seconds:g} s without a pong",
        f"  log        {settings.history_messages} messages or {settings.history_bytes} bytes per channel{patterns}",
        f"  message    at most {settings.max_message_bytes} bytes",
        f"  publishing {_ASKED[settings.publishing]}",
        *([] if settings.read == "open" else [f"  reading    {_ASKED[settings.read]}"]),
        f"  clients    at most {clients} per address, file descriptors {fd_limit}",
        *(few if room < settings.max_clients else []),
        *([f"  backplane  {known['backplane']}"] if known["backplane"] else []),
        f"  fast path  {direct}",
    ]


def serve(settings: Settings, member: Member | None = None) -> int:
    """Runs the server until a signal stops it; returns the exit status: 0, or 1 if the server has not started.

    Args:
        settings: The settings.
        member: What the server is of the workers of a launcher, which has printed the banner; None: it is alone.

    Raises:
        SettingsError: The settings ask for io_uring, and there is none.
    """
    fd_limit = raise_fd_limit()
    sweep_way(settings.sweep)
    app = create_app(settings)
    config = build_config(settings, app, pid=member is not None)  # from here on everything goes to the log
    take_over()
    listener = member.listener if member is not None else config.bind_socket()
    socket_options(settings).apply(listener)  # accepted sockets inherit them
    port = listener.getsockname()[1]
    if member is None:
        try:
            listener.listen(config.backlog)
        except OSError as error:  # another socket is bound to the port too, and listens already
            logging.getLogger("uvicorn.error").error("%s: port %s", error, port)  # noqa: TRY400 - no traceback
            return STARTUP_FAILURE
        if settings.log_format == "text":
            sys.stderr.write("\n".join(banner(settings, port=port, fd_limit=fd_limit)) + "\n")
    known = facts(settings, port=port, fd_limit=fd_limit)
    broadcaster: Node = app.state.broadcaster
    server = FanwiseServer(
        config,
        broadcaster,
        places=places(settings, count=broadcaster.tally.reject),
        drain_seconds=settings.drain_seconds,
        facts=known,
        member=member,
    )
    server.run(sockets=[listener])
    return 0 if server.started else 1


def places(settings: Settings, *, count: Callable[[ErrorCode], None]) -> Places:
    """Returns the places that the settings give; `count` is called with the code of each refusal."""
    bounds = PlaceLimits(
        address_connections=settings.address_connections,
        address_connects_per_second=settings.address_connects_per_second,
        connects_per_second=settings.connects_per_second,
        address_publishes_per_second=settings.address_publishes_per_second,
        address_tokens_per_second=settings.address_tokens_per_second,
        short_paths=SHORT_PATHS,
    )
    return Places(bounds, count=count, proxies=TrustedProxies(settings.trusted_proxies))


def log_lines(settings: Settings, *, pid: bool) -> dict[str, Any]:
    """Returns the configuration of the log; `pid` is whether its lines have the process's id."""
    return log_config(settings.log_level, settings.log_format, secrets=_secrets(settings), pid=pid)


def _secrets(settings: Settings) -> list[str]:
    """Returns keys as they are and as browsers send them, the secret of tokens, and the passwords of the backplane."""
    secrets = [] if settings.token_key is None else [settings.token_key.get_secret_value()]
    for key in {} if settings.api_key is None else read_keys(settings.api_key.get_secret_value()):
        secrets += [key, base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")]
    return secrets if settings.backplane is None else secrets + passwords(settings.backplane.get_secret_value())

"""`fanwise serve`: uvicorn with acceptors, drain and collector settings for fan-out."""

from __future__ import annotations

import base64
import logging
import resource
import socket
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from .app import create_app, door_of, is_local, limits, socket_options, tokens
from .backplane.urls import check, passwords, shown
from .backplane.workers.member import Member
from .backplane.workers.supervisor import Supervisor
from .broadcaster.node import Node
from .core.codes import ErrorCode
from .core.roles import read_keys
from .errors import DrainingError, FullError, SettingsError
from .logs.events import Event
from .logs.formatting import log_config, take_over
from .protocol import FanwiseHttpProtocol, FanwiseProtocol
from .settings import Settings, flag, variable
from .transport.acceptor import Descriptors
from .transport.listeners import open_listener, url_on
from .transport.listeners import shown as shown_address
from .transport.places import PlaceLimits, Places
from .transport.proxies import TrustedProxies
from .transport.refusals import RefusedError
from .transport.server import GRACE_SECONDS, FanwiseServer
from .transport.sweep_writer import Mode, open_writer
from .version import SERVER_VERSION

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
        log_config=settings.log_config or log_lines(settings, pid=pid),
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
    if not (is_local(settings) or settings.publishing != "open" or settings.open):
        where = settings.host if settings.fd is None else f"descriptor {settings.fd}"
        problem = (
            f"{variable('host')} ({flag('host')}) is {where!r}, which others can reach, and everybody could "
            f"publish: set {variable('api_key')}, or say {flag('open')} if that is what you want; keys of tokens "
            f"({variable('token_jwks')}) will do too"
        )
        raise SettingsError([problem])


def url_of(settings: Settings, listener: socket.socket) -> str:
    """Returns where a listener listens, as people say it: with the host that the settings name."""
    if settings.uds is not None or settings.fd is not None:
        return shown_address(listener, scheme=_scheme(settings))
    return url_at(settings, listener.getsockname()[1])


def url_at(settings: Settings, port: int) -> str:
    """Returns the URL of a port of the host that the settings name."""
    return url_on(settings.host, port, scheme=_scheme(settings))


def _scheme(settings: Settings) -> str:
    return "https" if settings.ssl_certfile else "http"


def facts(settings: Settings, *, url: str, fd_limit: int) -> dict[str, Any]:
    """Returns what is in force: the fields of `Event.STARTED`."""
    names = set(Event.STARTED.fields) & set(Settings.model_fields)
    return {
        **settings.model_dump(include=names),
        "version": SERVER_VERSION,
        "url": url,
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


def banner(settings: Settings, *, url: str, fd_limit: int) -> list[str]:
    """Returns what is in force, for people: at most 12 lines."""
    known = facts(settings, url=url, fd_limit=fd_limit)
    patterns = f", patterns with options: {len(settings.channels)}" if settings.channels else ""
    clients = f"{settings.max_clients}, {settings.address_connections}"
    room = Descriptors(fd_limit).short
    few = [f"  WARNING    descriptors for {room} clients only: raise ulimit -Hn, or say --max-clients {room}"]
    seconds = "" if settings.forgive_seconds is None else f" or {settings.forgive_seconds:g} s"
    width = f"{settings.queue_messages} messages or {settings.queue_bytes} bytes{seconds}"
    direct = f"yes, {known['sweep']}" if known["fast_path"] else "no: TLS is written through the transport"
    return [
        f"Fanwise {known['version']}{': open' if known['url'].startswith('http') else ' on'} {known['url']}",
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
    app = create_app(settings if member is None else settings.model_copy(update={"workers": member.count}))
    config = build_config(settings, app, pid=member is not None)  # from here on everything goes to the log
    take_over()
    supervisor = Supervisor.of_process()
    listener = member.listener if member is not None else _listener(settings, backlog=config.backlog)
    if listener is None:
        return STARTUP_FAILURE
    socket_options(settings).apply(listener)  # accepted sockets inherit them
    url = url_of(settings, listener)
    if member is None and settings.log_format == "text":
        sys.stderr.write("\n".join(banner(settings, url=url, fd_limit=fd_limit)) + "\n")
    known = facts(settings, url=url, fd_limit=fd_limit)
    broadcaster: Node = app.state.broadcaster
    server = FanwiseServer(
        config,
        broadcaster,
        places=places(settings, count=broadcaster.tally.reject),
        drain_seconds=settings.drain_seconds,
        facts=known,
        member=member,
        supervisor=supervisor,
    )
    server.run(sockets=[listener])
    if settings.uds is not None:
        Path(settings.uds).unlink(missing_ok=True)
    return 0 if server.started else 1


def _listener(settings: Settings, *, backlog: int) -> socket.socket | None:
    """Returns a socket that listens; None if there is none, which the log says."""
    where = settings.uds or (f"port {settings.port}" if settings.fd is None else f"descriptor {settings.fd}")
    try:
        listener = open_listener(host=settings.host, port=settings.port, uds=settings.uds, fd=settings.fd)
        listener.listen(backlog)  # fails where another socket is bound to the port too, and listens already
    except OSError as error:
        logging.getLogger("uvicorn.error").error("%s: %s", error, where)  # noqa: TRY400 - no traceback
        return None
    return listener


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

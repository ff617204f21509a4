"""`fanwise serve`: uvicorn, set up for fan-out."""

from __future__ import annotations

import copy
import gc
import logging
import resource
import socket
import sys
from importlib.metadata import version
from typing import Any

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from .app import create_app
from .protocol import FanwiseProtocol
from .settings import Settings

# Full collections walk every object of every connection: hundreds of milliseconds with 10,000 clients. What refers to
# itself here are connections that have ended, so rare collections are enough (`benchmarks/test_gc.py`).
GC_THRESHOLDS = (50_000, 50, 1000)


class FanwiseServer(uvicorn.Server):
    """uvicorn's server, which after its start takes what will live forever out of the garbage collector's sight."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, then tunes the collector of this process."""
        await super().startup(sockets=sockets)
        tune_gc()


def tune_gc() -> None:
    """Keeps collections away from the sweeps: freezes the objects of the start, and makes full collections rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def raise_fd_limit() -> int:
    """Raises the soft limit on file descriptors to the hard one; returns what is in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def build_config(settings: Settings) -> uvicorn.Config:
    """What we ask of uvicorn: our protocol class, uvloop where it is installed, no compression per client."""
    return uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        loop=settings.loop,
        ws=FanwiseProtocol,
        ws_max_size=settings.max_message_bytes,
        ws_per_message_deflate=False,
        log_config=_log_config(),
        log_level=settings.log_level,
        access_log=False,  # it would write each URL with its query string
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        workers=1,
    )


def banner(settings: Settings, *, port: int, fd_limit: int) -> list[str]:
    """What is in force, in at most 12 lines."""
    scheme = "https" if settings.ssl_certfile else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    direct = "no: TLS is written through the transport" if settings.ssl_certfile else "yes"
    return [
        f"Fanwise {version('fanwise')} on {scheme}://{host}:{port}",
        f"  WebSocket  /ws?channel=NAME, without a name {settings.default_channel!r}",
        f"  queue      {settings.queue_messages} messages or {settings.queue_bytes} bytes, then {settings.overflow}",
        f"  log        {settings.history_messages} messages or {settings.history_bytes} bytes per channel",
        f"  message    at most {settings.max_message_bytes} bytes",
        f"  clients    at most {settings.max_clients}, file descriptors {fd_limit}",
        f"  fast path  {direct}",
    ]


def serve(settings: Settings) -> int:
    """Runs the server until it is told to stop; returns the exit status."""
    fd_limit = raise_fd_limit()
    config = build_config(settings)
    listener = config.bind_socket()
    lines = banner(settings, port=listener.getsockname()[1], fd_limit=fd_limit)
    sys.stderr.write("\n".join(lines) + "\n")
    server = FanwiseServer(config)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises the signal again once it has stopped
        logging.getLogger("fanwise").info("stopped")
    return 0 if server.started else 1


def _log_config() -> dict[str, Any]:
    config: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["fanwise"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config

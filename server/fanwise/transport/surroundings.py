"""What all WebSockets and event streams of a server share, so that no connection has it of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, Final
from weakref import WeakKeyDictionary

from uvicorn.server import ServerState

from .keep_alive import KeepAlive
from .limits import Limits


@dataclass(slots=True, frozen=True, kw_only=True)
class Surroundings:
    """What all WebSockets and event streams of a server share.

    Attributes:
        loop: The event loop.
        limits: What a peer may send.
        max_bytes: The largest message.
        connections: The open connections, as uvicorn looks after them.
        keep_alive: Pings, and the comments of event streams.
        deflate: Whether handshakes may agree on permessage-deflate.
        graceful_seconds: How long uvicorn waits for connections when it stops; None: for ever.
        others: {seconds: what connections share whose comments come at that interval}.
    """

    loop: asyncio.AbstractEventLoop
    limits: Limits
    max_bytes: int
    connections: set[Any]
    keep_alive: KeepAlive
    deflate: bool
    graceful_seconds: float | None
    others: dict[float, Surroundings] = field(default_factory=dict, compare=False)

    def at_interval(self, seconds: float) -> Surroundings:
        """Returns what connections share whose comments come every `seconds`: one value for each interval."""
        if seconds == self.keep_alive.interval_seconds:
            return self
        found = self.others.get(seconds)
        if found is None:
            keep_alive = KeepAlive(self.loop, interval_seconds=seconds, timeout_seconds=None)
            found = self.others[seconds] = replace(self, keep_alive=keep_alive)
        return found


def surroundings(
    config: Any, server_state: ServerState, loop: asyncio.AbstractEventLoop, limits: Limits
) -> Surroundings:
    """Returns what the connections of a server share: one value for each `server_state`."""
    found = _AROUND.get(server_state)
    if found is None:
        interval, timeout = config.ws_ping_interval, config.ws_ping_timeout
        found = _AROUND[server_state] = Surroundings(
            loop=loop,
            limits=limits,
            max_bytes=config.ws_max_size,
            connections=server_state.connections,
            keep_alive=KeepAlive(loop, interval_seconds=interval, timeout_seconds=timeout),
            deflate=config.ws_per_message_deflate,
            graceful_seconds=config.timeout_graceful_shutdown,
        )
    return found


_AROUND: Final[WeakKeyDictionary[ServerState, Surroundings]] = WeakKeyDictionary()

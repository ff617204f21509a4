"""uvicorn's server with acceptors, a drain, and collector settings for fan-out."""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, cast

import uvicorn
from anyio.lowlevel import checkpoint

from ..backplane.workers.member import Member, Order
from ..backplane.workers.supervisor import Supervisor
from ..broadcaster.node import Node
from ..logs.events import Event, log
from ..logs.limiter import log_left_out
from .acceptor import Acceptor, Descriptors
from .collector import collect_young, tune_gc
from .newcomer import protocol_maker
from .places import Places

# After the drain uvicorn closes connections, and cancels requests after GRACE_SECONDS.
GRACE_SECONDS = 1
ABORT_SECONDS = 0.6


class FanwiseServer(uvicorn.Server):
    """uvicorn's server with acceptors of ours, which drains before it stops, and tunes the garbage collector.

    Args:
        config: What is asked of uvicorn.
        broadcaster: Its clients leave before the server stops.
        places: The places of connections.
        drain_seconds: How long clients may take to leave.
        facts: The fields of `Event.STARTED`.
        member: What the server is of the workers of a launcher; None: it is alone.
        supervisor: Hears when the server takes clients, and when it stops.
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
        supervisor: Supervisor | None = None,
    ) -> None:
        super().__init__(config)
        self._supervisor = Supervisor() if supervisor is None else supervisor
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
            self._supervisor.ready(f"takes clients on {self._facts['url']}")
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
        collect_young()
        if self._signals and self._draining is None:
            log(Event.STOPPING, clients=len(self._broadcaster), seconds=self._drain_seconds)
            self._supervisor.stopping()
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
            self._supervisor.close()
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


def warm_up() -> None:
    """Compiles the patterns of `inspect`, by which FastAPI finds the line of an endpoint at its first request.

    The first request of a server would hold the event loop for 20 ms with them.
    """
    with suppress(OSError):  # without the source there is nothing to find, and nothing to compile
        inspect.getsourcelines(warm_up)

"""A server for `test_churn.py`: four channels broadcast flat out while connections come, go and are aborted by us.

    python -m tests.support.churn_server PORT uvloop|asyncio [--door] [--yield-after-each] [--sweep auto|write]
        [--fault F]

`--door` answers what is plain before the application. `--yield-after-each` makes sweeps give the loop back after every
client. `--fault` plants one of the faults that the test is there to catch, a lease that ends one turn of the loop too
late: when the connection is `lost`, when its transport is `closed`, or when it is `taken` by a WebSocket while a stream
is open on it. With the fault `pending` requests of the ring outlive their call, which nothing notices.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import random
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI

from fanwise import Broadcaster, CloseReason
from fanwise.broadcaster import sweep as sweeps
from fanwise.broadcaster.client import Client
from fanwise.core.lease import Lease
from fanwise.routes.router import build_door
from fanwise.transport import door, http_protocol, stream_door, sweep_writer, websocket_protocol
from fanwise.transport.event_stream_connection import EventStreamConnection
from fanwise.transport.http_protocol import FanwiseHttpProtocol
from fanwise.transport.leased_transport import LeasedTransport
from fanwise.transport.places import PlaceLimits, Places
from fanwise.transport.server import FanwiseServer
from fanwise.transport.socket_sink import SocketSink
from fanwise.transport.sweep_writer import Mode
from fanwise.transport.uring import Ring
from fanwise.transport.websocket_connection import WebSocketConnection
from fanwise.transport.websocket_protocol import FanwiseProtocol

# {channel: what is published there, again and again}
PAYLOADS = {name: name * size for name, size in (("w", 100), ("x", 130), ("y", 1_000), ("z", 5_000))}


class WatchedBroadcaster(Broadcaster):
    """Knows its clients, so that some can be aborted."""

    def some_client(self) -> Client | None:
        clients = list(self._registry)
        return random.choice(clients) if clients else None


def create_app(*, yield_after_each: bool, sweep: Mode) -> tuple[FastAPI, Broadcaster]:  # noqa: C901 - two tasks and an application
    if yield_after_each:
        vars(sweeps)["WAVE_CLIENTS"] = 1
    broadcaster = WatchedBroadcaster(
        queue_messages=4_000,
        queue_bytes=8_000_000,
        history_bytes=8_000_000,
        cohort_clients=1 if yield_after_each else 128,
        sweep_seconds=1e-9 if yield_after_each else 0.003,
        sweep=sweep,
    )

    async def publish() -> None:
        while True:
            for channel, payload in PAYLOADS.items():
                for _ in range(4):
                    await broadcaster.publish(channel, payload)
            await asyncio.sleep(0)

    async def end_some() -> None:
        while True:
            await asyncio.sleep(0.005)
            client = broadcaster.some_client()
            if client is not None and random.random() < 0.5:
                client.sink.abort()
            elif client is not None:
                client.close(CloseReason.OPERATOR)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with broadcaster.lifespan(app):
            tasks = [asyncio.create_task(publish()), asyncio.create_task(end_some())]
            yield
            for task in tasks:
                task.cancel()

    app = FastAPI(lifespan=lifespan)
    app.include_router(broadcaster.router)
    return app, broadcaster


def late(name: str) -> tuple[type[FanwiseProtocol], type[FanwiseHttpProtocol]]:  # noqa: C901 - three small faults
    """Protocol classes whose leases end one turn too late."""

    class LateLease(Lease):
        __slots__ = ()

        def end(self) -> None:
            asyncio.get_running_loop().call_soon(super().end)

    def lose(transport: LeasedTransport) -> None:
        """Has `connection_lost` end a lease of nothing, and the real one in the next turn."""
        asyncio.get_running_loop().call_soon(transport.lease.end)
        transport.lease = Lease(None)

    def lose_owner(sink: SocketSink) -> None:
        owner, sink._owner = sink._owner, None
        if owner is not None:
            asyncio.get_running_loop().call_soon(owner.sink_closed, CloseReason.LOST)

    def late_sink(base: Any) -> Any:
        class LateSink(base):  # type: ignore[misc]  # a class of ours
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                if name == "closed":
                    self.transport.lease.__class__ = LateLease

            def connection_lost(self, exc: Exception | None) -> None:
                if name == "lost":
                    lose(self.transport)
                    lose_owner(self)
                super().connection_lost(exc)

        return LateSink

    vars(websocket_protocol)["WebSocketConnection"] = vars(door)["WebSocketConnection"] = late_sink(WebSocketConnection)
    vars(stream_door)["EventStreamConnection"] = late_sink(EventStreamConnection)
    vars(http_protocol)["EventStreamConnection"] = late_sink(EventStreamConnection)

    def take_over(connection: EventStreamConnection, following: FanwiseHttpProtocol, data: bytes) -> None:
        own, holder = connection.transport._transport, connection.transport
        following.connection_made(holder)
        own.set_protocol(following)
        following.data_received(data)

    class LateHttp(FanwiseHttpProtocol):
        def _take_stream(self, interval_seconds: float) -> EventStreamConnection | None:
            connection = super()._take_stream(interval_seconds)
            if name == "taken" and connection is not None:  # what comes behind a stream is another request
                connection.transport.lease.__class__ = LateLease
                following = LateHttp(self.config, self.server_state, self.app_state)
                vars(connection)["data_received"] = partial(take_over, connection, following)
            return connection

        def data_received(self, data: bytes) -> None:
            if name == "taken":  # as uvicorn does it: what is here is parsed, whatever was answered
                super(FanwiseHttpProtocol, self).data_received(data)
            else:
                super().data_received(data)

        def on_message_begin(self) -> None:
            self._received = self._received and name != "taken"
            super().on_message_begin()

        def handle_websocket_upgrade(self) -> None:
            if name == "taken":
                self.transport.lease.__class__ = LateLease
                super(FanwiseHttpProtocol, self).handle_websocket_upgrade()
            else:
                super().handle_websocket_upgrade()

    return FanwiseProtocol, LateHttp


def leave_pending() -> None:
    """Has the kernel's threads send what a call submits, and takes the probe and the count of completions away."""

    class WaitingRing(Ring):
        def _fill(self, flags: int) -> None:
            super()._fill(flags)
            for index in range(self.entries):
                self._request_bytes[64 * index + 1] = 1 << 4  # IOSQE_ASYNC, in the flags of the request

        def _unusual(self, fds: array[int], data: bytes, begun: int, taken: dict[int, int]) -> list[tuple[int, int]]:
            return super()._unusual(fds, data, begun, dict.fromkeys(range(begun), -errno.EAGAIN) | taken)

    vars(sweep_writer).update(Ring=WaitingRing, probe=lambda _write_to_all: "")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("loop", choices=["uvloop", "asyncio"])
    parser.add_argument("--door", action="store_true")
    parser.add_argument("--yield-after-each", action="store_true")
    parser.add_argument("--sweep", choices=["auto", "write", "uring"], default="auto")
    parser.add_argument("--fault", choices=["lost", "closed", "taken", "pending"])
    options = parser.parse_args()
    ws, http = late(options.fault) if options.fault else (FanwiseProtocol, FanwiseHttpProtocol)
    if options.fault == "pending":
        leave_pending()
    app, broadcaster = create_app(yield_after_each=options.yield_after_each, sweep=options.sweep)
    if options.door:
        http = type("Http", (http,), {"door": build_door(broadcaster, broadcaster.router)})
    config = uvicorn.Config(
        app,
        port=options.port,
        loop=options.loop,
        ws=ws,
        http=http,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        log_level="warning",
        backlog=4096,
        timeout_graceful_shutdown=2,
    )
    places = Places(PlaceLimits(), count=broadcaster.tally.reject)
    server = FanwiseServer(config, broadcaster, places=places, drain_seconds=0.5, facts={"version": "", "url": ""})
    server.run(sockets=[config.bind_socket()])


if __name__ == "__main__":
    main()

"""The simulated clients that read: they connect one after the other, and reconnect when the server closes them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from time import monotonic
from typing import Any

from ...tools.load.wire import Handshake
from .client import SimulatedClient
from .rolling import RollingWindow
from .stream import Stream
from .target import Target

RESTART = 1012  # the code of a server that stops
_BACK_SECONDS = (1.0, 2.0)  # a client reconnects after a random time in between


class Clients:
    """Owns the invariant that each client is connected, connecting or waiting for its turn, until `leave`.

    Args:
        number: Their number.
        target: The server's address.
        handshake: The request that opens each connection.
        stream: The messages that they are sent.
        on_restart: Called when the server closes a connection because it stops.

    Attributes:
        drops: Connections that the server has ended.
    """

    def __init__(
        self, number: int, *, target: Target, handshake: Handshake, stream: Stream, on_restart: Callable[[], None]
    ) -> None:
        self.drops = 0
        self._target = target
        self._handshake = handshake
        self._on_restart = on_restart
        self._window = RollingWindow(stream.began)
        self._clients = [
            SimulatedClient(stream=stream, window=self._window, now=monotonic(), on_lost=self._lost)
            for _ in range(number)
        ]
        self._arrivals: asyncio.Queue[SimulatedClient] = asyncio.Queue()  # in the order of their turns
        for client in self._clients:
            self._arrivals.put_nowait(client)
        self._returning: dict[SimulatedClient, asyncio.TimerHandle] = {}  # {client without connection: its timer}

    @property
    def connected(self) -> bool:
        """Whether all of them are."""
        return all(client.connected for client in self._clients)

    async def open(self) -> None:
        """Opens connections one at a time, so that many do not hold the loop. Never returns."""
        while True:
            client = await self._arrivals.get()
            await client.open(self._target, self._handshake)
            if not client.connected:
                self._come_back(client)

    def leave(self) -> None:
        """Closes all clients at once."""
        for timer in self._returning.values():
            timer.cancel()
        self._returning.clear()
        for client in self._clients:
            client.leave()
        self._clients = []

    def status(self, now: float) -> dict[str, Any]:
        """Returns their state, for a `SideStatus`. O(clients)."""
        clients = [client.status(now) for client in self._clients]
        return {"healthy": self._healthy(now), "drops": self.drops, "clients": clients}

    def _healthy(self, now: float) -> dict[str, Any]:
        silent_seconds = max((now - client.heard_at for client in self._clients), default=0.0)
        ages = self._window.percentiles(now, 0.5, 0.99)
        if ages is None and self._clients and silent_seconds >= 1:  # a stopped stream is not a fast one
            ages = [silent_seconds] * 2
        p50_seconds, p99_seconds = [None, None] if ages is None else [round(age, 6) for age in ages]
        return {
            "clients": sum(client.connected for client in self._clients),
            "received_per_second": round(self._window.per_second(now), 1),
            "p50_seconds": p50_seconds,
            "p99_seconds": p99_seconds,
            "silent_seconds": round(silent_seconds, 3),
        }

    def _lost(self, client: SimulatedClient) -> None:
        self.drops += 1
        self._come_back(client)
        if client.code == RESTART:
            self._on_restart()

    def _come_back(self, client: SimulatedClient) -> None:
        if client not in self._returning and client in self._clients:
            seconds = random.uniform(*_BACK_SECONDS)  # noqa: S311 - no secret
            self._returning[client] = asyncio.get_running_loop().call_later(seconds, self._return, client)

    def _return(self, client: SimulatedClient) -> None:
        del self._returning[client]
        self._arrivals.put_nowait(client)

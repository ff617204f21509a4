"""One side of a run: a publisher, its clients, and the client among them that stops reading."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final, Literal
from urllib.parse import SplitResult

from ...tools.load.wire import Handshake
from .client import SimulatedClient
from .clients import RESTART, Clients
from .plan import Plan
from .publisher import Publisher
from .stopping import StoppingClient
from .stream import Stream
from .target import Target

Mode = Literal["fanwise", "tutorial"]
_AGAIN_SECONDS: Final = 0.5  # after a refusal
MODES: Final[tuple[Mode, ...]] = ("tutorial", "fanwise")


class Side:
    """A sender and its clients.

    Args:
        plan: Clients and messages.
        stream: The messages of both sides.
        publish: Returns when a text was published.
        target: The address that the clients connect to.
        url: The WebSocket of the clients.
        channel: The channel that the client which stops resumes, over `subprotocol`; None: it cannot.
        subprotocol: Of that client.
        reason_of: Returns why the server has dropped the client at an address; None: it has not.
        on_restart: Called when the server closes a connection because it stops.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        stream: Stream,
        publish: Callable[[str], Awaitable[object]],
        target: Target,
        url: SplitResult,
        on_restart: Callable[[], None],
        channel: str | None = None,
        subprotocol: str | None = None,
        reason_of: Callable[[str], str | None] = lambda _address: None,
    ) -> None:
        self.publisher = Publisher(stream, publish, size_bytes=plan.size_bytes)
        self._target = target
        self._reason_of = reason_of
        self._reason: str | None = None  # why the client that stopped was dropped
        self._on_restart = on_restart
        handshake = Handshake(url, subprotocol=None, headers=target.headers)
        self._handshake = Handshake(url, subprotocol=subprotocol, headers=target.headers)  # of the one that stops
        self._clients = Clients(
            plan.clients - 1, target=target, handshake=handshake, stream=stream, on_restart=on_restart
        )
        self._stopping = StoppingClient(stream=stream, channel=channel, now=monotonic(), on_lost=self._lost)

    @property
    def connected(self) -> bool:
        """Whether all clients are."""
        return self._stopping.connected and self._clients.connected

    @property
    def dropped(self) -> bool:
        """Whether the server has dropped the client that stopped. O(closed clients that are remembered)."""
        one = self._stopping
        if one.stopped_at is None:
            return False
        if self._reason is None and one.returned_at is None:
            self._reason = self._reason_of(one.address)
        return self._reason is not None or not one.connected

    @property
    def caught_up(self) -> bool:
        """Whether the client that stopped is back, and up to date."""
        return self._stopping.caught_up

    async def open(self) -> None:
        """Opens the connections, that of the client that stops first. Never returns."""
        while True:
            await self._stopping.open(self._target, self._handshake)
            if self._stopping.address:  # it has been connected
                break
            await asyncio.sleep(_AGAIN_SECONDS)
        await self._clients.open()

    def stop_one(self) -> None:
        """One client reads nothing any more."""
        self._stopping.stop_reading()

    def bring_back(self) -> None:
        """The client that stopped comes back, with its position."""
        self._stopping.come_back(self._target, self._handshake)

    def leave(self) -> None:
        """Closes all clients at once."""
        self._clients.leave()
        self._stopping.leave()

    async def close(self) -> None:
        """Closes all clients, and returns when none is opened any more."""
        self.leave()
        await self._stopping.close()

    def status(self) -> dict[str, Any]:
        """Returns the state of the side: a `SideStatus`. O(clients)."""
        now = monotonic()
        return {
            "published": self.publisher.published,
            "waiting": self.publisher.waiting,
            "publishing_seconds": round(self.publisher.publishing_seconds(), 3),
            **self._clients.status(now),
            "stopping": {**self._stopping.status(now), "reason": self._reason},
        }

    def _lost(self, client: SimulatedClient) -> None:
        if client.code == RESTART:
            self._on_restart()

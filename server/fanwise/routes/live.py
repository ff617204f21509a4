"""`GET /stats`, and `WS /live`: its parts each second, over a small Fanwise of its own.

Watchers are no clients of the server. They have a node, a log and limits of their own, and neither show in the document
nor hold up the server. A watcher that falls behind gets the newest.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol, Self

import orjson
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response
from starlette.websockets import WebSocket

from ..broadcaster.client import Client
from ..broadcaster.node import Node
from ..core.codes import CodedError, ErrorCode
from ..core.dialect import JSON
from ..core.rights import User
from ..errors import DrainingError, FullError
from ..logs.events import Event, log
from ..transport.connect import connect
from .auth.guards import REFUSED_WITH_KEY, Access, operator_guards
from .channels import Scope
from .json_models import SUBPROTOCOL
from .json_session import JsonSession, welcome
from .past import PastRing
from .problems import errors, json_response, make_router, turn_away
from .stats import Stats, StatsCollector

STATS: Final = "stats"  # a summary each second
LISTS: Final = "lists"  # clients, channels and closed clients, each second while a watcher listens
DEMO: Final = "demo"  # the demo's state, four times a second while it runs
REMEMBERED_SECONDS: Final = 300  # of summaries: a page that is opened shows them at once
MAX_WATCHERS: Final = 64
_CLOSING_WATCHERS: Final = 192  # that may be in the closing handshake beside those
_CLOSE_SECONDS: Final = 0.5  # for a watcher that makes room
_SUBSCRIPTIONS: Final = 8
_IDLE_SECONDS: Final = 10.0  # after which a watcher without a subscription is closed
_ONLY: Final = f"this speaks the subprotocol {SUBPROTOCOL} only"
_MEMORY_BYTES: Final = 33_554_432
_HISTORY_BYTES: Final = 8_388_608  # 300 summaries of some 4 KB, and the lists


class Collector(Protocol):
    """Makes the documents of all workers behind one engine. `model`: of the JSON of `stats`."""

    model: type[BaseModel]

    async def summary(self) -> dict[str, Any]:
        """Returns a `Summary`."""

    async def lists(self) -> dict[str, Any]:
        """Returns `Lists`."""

    async def stats(self) -> dict[str, Any]:
        """Returns a `Stats`."""


class Live:
    """Sends watchers each second how a node stands. Owns the invariant that a newcomer gets a place.

    A watcher beyond MAX_WATCHERS takes the place of another: of the address that has most places, the oldest. No
    address can therefore keep an operator out, and no operator waits.

    Args:
        broadcaster: The node that is watched.
        access: Who may watch.
        pong_seconds: The longest time between a ping and its pong; None: unlimited, or unknown.
        everywhere: Makes what is sent where there are other workers, as long as somebody watches.
        published: Returns how many publications were made; by default those that the node has appended.

    Attributes:
        collector: Makes the documents of this process.
        past: Its last hour.
    """

    def __init__(
        self,
        broadcaster: Node,
        access: Access,
        *,
        pong_seconds: float | None = None,
        everywhere: Collector | None = None,
        published: Callable[[], int] | None = None,
    ) -> None:
        self.everywhere = everywhere
        self.past = PastRing(broadcaster, published=published)
        self.collector = StatsCollector(broadcaster, pong_seconds=pong_seconds)
        self._reject = broadcaster.tally.reject
        self._access = access
        self._watchers = Node(
            queue_messages=8,
            history_messages=REMEMBERED_SECONDS,
            history_bytes=_HISTORY_BYTES,
            history_seconds=REMEMBERED_SECONDS,
            overflow="latest",
            max_clients=MAX_WATCHERS + _CLOSING_WATCHERS,
            max_channels=2 * MAX_WATCHERS * _SUBSCRIPTIONS,
            memory_bytes=_MEMORY_BYTES,
            max_message_bytes=_HISTORY_BYTES // 16,
            ready_lag_seconds=math.inf,  # the node that is watched logs a late loop
        )
        self._places: dict[Client, str] = {}  # {watcher that is not being closed: host}, the oldest first
        self._starts = 0
        self._feeding: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begins to send. May be entered more than once: the last exit stops it."""
        self._starts += 1
        await self._watchers.__aenter__()
        if self._feeding is None:
            self._feeding = asyncio.create_task(self._feed(), name="fanwise live")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops, and closes the watchers."""
        self._starts -= 1
        if self._starts == 0 and self._feeding is not None:
            self._feeding.cancel()
            await asyncio.wait({self._feeding})
            self._feeding = None
        await self._watchers.__aexit__(kind, error, trace)

    def send(self, channel: str, document: dict[str, Any]) -> None:
        """Sends `document` to the watchers of `channel`; later watchers get it from the log."""
        self._watchers.publish_nowait(channel, document)

    async def serve(self, websocket: WebSocket) -> None:
        """Serves one watcher, from its handshake to its end, in the JSON dialect without publishing."""
        try:
            self._access.check_site(websocket)
            rights = await self._access.check_operator(websocket)
            if SUBPROTOCOL not in websocket.scope.get("subprotocols", ()):
                raise CodedError(ErrorCode.BAD_REQUEST, _ONLY)  # noqa: TRY301 - all refusals leave by one door
            await self._talk(websocket, None if rights is None else rights.user)
        except (CodedError, FullError, DrainingError) as error:
            await turn_away(websocket, error, self._reject)

    async def _talk(self, websocket: WebSocket, user: User | None) -> None:
        async with connect(self._watchers, websocket, subprotocol=SUBPROTOCOL, dialect=JSON, user=user) as watcher:
            session = JsonSession(self._watchers, watcher, max_subscriptions=_SUBSCRIPTIONS, may_publish=False)
            welcome(self._watchers, watcher, max_subscriptions=_SUBSCRIPTIONS)
            self._take_place(watcher)
            patience = asyncio.get_running_loop().call_later(_IDLE_SECONDS, _leave_if_idle, watcher)
            try:
                async for kind, data in watcher.received():
                    waits = session.work(kind, data)
                    if waits is not None:
                        await waits
            finally:
                patience.cancel()
                self._places.pop(watcher, None)

    def _take_place(self, watcher: Client) -> None:
        if len(self._places) >= MAX_WATCHERS:
            ((host, _),) = Counter(self._places.values()).most_common(1)
            oldest = next(one for one, its_host in self._places.items() if its_host == host)
            del self._places[oldest]
            oldest.close(text="another watcher has taken this place", within_seconds=_CLOSE_SECONDS)
        self._places[watcher] = watcher.address.rpartition(":")[0]

    def _is_watched(self, channel: str) -> bool:
        found = self._watchers.inspect.channel(channel)
        return found is not None and found.clients > 0

    async def _feed(self) -> None:
        while True:
            try:
                self.past.look()
                if self.everywhere is None:
                    self.send(STATS, self.collector.summary())
                elif self._is_watched(STATS):
                    self.send(STATS, await self.everywhere.summary())
                if self._is_watched(LISTS):
                    self.send(LISTS, await (self.everywhere or self.collector).lists())
            except Exception as error:  # noqa: BLE001 - the feed goes on with the next second
                log(Event.FEED_FAILED, error=error)
            await asyncio.sleep(1)


def _leave_if_idle(watcher: Client) -> None:
    if not watcher.subscriptions:
        watcher.close(text="nothing was subscribed to")


def live_routes(live: Live, broadcaster: Node, access: Access) -> APIRouter:
    """`GET /stats` and `WS /live`."""
    router = make_router(broadcaster.tally.reject)

    everywhere = live.everywhere

    async def stats(scope: Scope = "worker") -> Response:
        """How the server stands: clients and channels, counters since the start, the slowest and the busiest."""
        if everywhere is not None and scope == "all":
            return json_response(orjson.dumps(await everywhere.stats()))
        return json_response(orjson.dumps(await live.collector.stats()))

    refused = REFUSED_WITH_KEY if everywhere is None else (*REFUSED_WITH_KEY, ErrorCode.FULL)
    router.add_api_route(
        "/stats",
        stats,
        dependencies=operator_guards(access),
        responses={200: {"model": Stats if everywhere is None else Stats | everywhere.model}, **errors(*refused)},
    )
    router.add_api_websocket_route("/live", live.serve)
    return router

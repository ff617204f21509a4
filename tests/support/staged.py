"""A server for the live page whose figures are made up: it says what a test wants the page to show."""

from __future__ import annotations

import asyncio
import threading
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from copy import deepcopy
from functools import cache
from typing import Any, Self

import uvicorn
from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from fanwise.broadcaster.node import Node
from fanwise.core.dialect import JSON
from fanwise.core.reasons import CloseReason
from fanwise.routes.auth.guards import Access
from fanwise.routes.json_models import SUBPROTOCOL
from fanwise.routes.json_session import JsonSession, welcome
from fanwise.routes.page import page_routes
from fanwise.routes.problems import refuse
from fanwise.routes.router import build_router
from fanwise.transport.connect import connect
from fanwise.transport.websocket_protocol import FanwiseProtocol

from .live import LOOK_SECONDS, PromptServer, until
from .processes import free_port

NOON = 1_763_812_800.0
LAG_BOUNDS = (0, *(2**power for power in range(18)))
TIME_BOUNDS = (*(step * 10.0**power for power in range(-5, 1) for step in (1, 2, 5)), 10.0, 60.0)
PAST_BOUNDS = {
    "ready_age_seconds": list(TIME_BOUNDS),
    "catching_up_age_seconds": list(TIME_BOUNDS),
    "lag_messages": list(LAG_BOUNDS),
}
CLOSES = [reason.name.lower() for reason in CloseReason]
CAUSES = [
    "gap_history",
    "gap_epoch",
    "gap_slow",
    "gap_backplane",
    *(f"closed_{name}" for name in CLOSES if name != "normal"),
]
LIMITS = {
    "queue_messages": 1024,
    "queue_bytes": 1_048_576,
    "overflow": "disconnect",
    "history_messages": 1000,
    "history_bytes": 4_194_304,
    "history_seconds": 300.0,
    "max_message_bytes": 65_536,
    "max_clients": 100_000,
    "max_channels": 100_000,
    "memory_bytes": 1_073_741_824,
    "stall_seconds": 10.0,
    "slice_bytes": 262_144,
    "close_seconds": 5.0,
    "ready_lag_seconds": 1.0,
}


def histogram(bounds: Sequence[float]) -> dict[str, Any]:
    return {"bounds": list(bounds), "counts": [0] * (len(bounds) + 1), "sum": 0.0}


def observe(into: dict[str, Any], values: Mapping[float, int]) -> None:
    for value, times in values.items():
        into["counts"][bisect_left(into["bounds"], value)] += times
        into["sum"] += value * times


class Figures:
    """What a server would have counted. `tick` is a second of its life, and returns the document of the stream."""

    def __init__(self, *, at: float = NOON, version: str = "0.1.0") -> None:
        self.version = version
        self.clients: list[dict[str, Any]] = []
        self.channels: list[dict[str, Any]] = []
        self.closed_clients: list[dict[str, Any]] = []
        self.forgiven: dict[str, Any] | None = None
        self.stats: dict[str, Any] = {
            "version": 1,
            "at": at,
            "uptime_seconds": 5.0,
            "state": {"ready": True, "draining": False, "loop_lag_seconds": 0.0004},
            "now": {"clients": 0, "behind": 0, "channels": 0, "retained_bytes": 0, "rss_bytes": 52_428_800}
            | {"cpu_seconds": 0.9, "descriptors": 20},
            "totals": {"connections": 0, "publications": 0, "deliveries": 0, "delivered_bytes": 0},
            "dropped": dict.fromkeys(CAUSES, 0),
            "gaps": {"history": 0, "epoch": 0, "slow": 0, "backplane": 0},
            "closed": dict.fromkeys(CLOSES, 0),
            "rejected": {"full": 0},
            "histograms": {
                **{name: histogram(LAG_BOUNDS) for name in ("lag_messages", "peak_lag_messages")},
                **{
                    f"{name}_seconds": histogram(TIME_BOUNDS)
                    for name in ("age", "ready_age", "catching_up_age", "sweep", "last_socket", "ping_rtt", "loop_lag")
                },
            },
        }

    def tick(
        self,
        *,
        seconds: float = 1.0,
        totals: Mapping[str, int] | None = None,
        dropped: Mapping[str, int] | None = None,
        closed: Mapping[str, int] | None = None,
        ages: Mapping[float, int] | None = None,
        late: Mapping[float, int] | None = None,
        lags: Mapping[float, int] | None = None,
        **now: float,
    ) -> dict[str, Any]:
        """What was counted in these seconds; `now` is how things stand after them."""
        self.stats["at"] += seconds
        self.stats["uptime_seconds"] += seconds
        for kind, increases in (("totals", totals), ("dropped", dropped), ("closed", closed)):
            for name, increase in (increases or {}).items():
                self.stats[kind][name] += increase
        for name, values in (("age", ages), ("age", late), ("ready_age", ages), ("catching_up_age", late)):
            observe(self.stats["histograms"][f"{name}_seconds"], values or {})
        observe(self.stats["histograms"]["lag_messages"], lags or {})
        self.stats["now"].update(now)
        return deepcopy(self.stats)

    def lists(self) -> dict[str, Any]:
        shown = {"clients": self.clients, "channels": self.channels, "closed_clients": self.closed_clients}
        return {"at": self.stats["at"], "forgiven": self.forgiven, **deepcopy(shown)}

    def document(self) -> dict[str, Any]:
        """What `/stats` answers."""
        server = {"version": self.version, "python": "3.11.7", "pid": 42, "loop": "uvloop"}
        return {**deepcopy(self.stats), "server": server, "limits": LIMITS, **self.lists()}


def client(number: int, **fields: Any) -> dict[str, Any]:
    """A client that has everything, but for what `fields` say."""
    return {
        "id": f"{number:016x}",
        "address": f"10.0.0.{number % 250}:{40_000 + number}",
        "dialect": "fanwise.v1",
        "path": "direct",
        "state": "behind",
        "channels": ["lobby"],
        "subscriptions": 1,
        "lag": 0,
        "lag_bytes": 0,
        "buffered_bytes": 0,
        "behind_seconds": None,
        "rtt_seconds": 0.0004,
        "connected_seconds": 12.5,
        **fields,
    }


def channel(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "epoch": "7b54f2d7a4f4",
        "head": 120,
        "clients": 3,
        "ready": 3,
        "retained": 120,
        "retained_bytes": 15_360,
        "deliveries": 360,
        "skipped": 0,
        "publications_per_second": 2.0,
        **fields,
    }


def gone(number: int, why: CloseReason = CloseReason.SLOW, **fields: Any) -> dict[str, Any]:
    who = {"id": f"{number:016x}", "address": f"10.0.1.{number % 250}:{30_000 + number}"}
    return {**who, "reason": why.name.lower(), "code": why.code, "at": NOON - number, "lag": 1025, **fields}


def past_point(at: float, **fields: Any) -> dict[str, Any]:
    """A point of the last hour, in which nothing happened but for what `fields` say."""
    stands = {"clients": 2, "retained_bytes": 1000, "rss_bytes": 52_428_800, "loop_lag_seconds": 0.0004}
    counted = {"publications": 0, "deliveries": 0, "delivered_bytes": 0, "dropped": {}, "closed": {}, "histograms": {}}
    return {"at": at, "seconds": 12.0, **stands, **counted, **fields}


def side(*, clients: int = 5, silent_seconds: float = 0.03, **stopping: Any) -> dict[str, Any]:
    """A side of the demo whose clients are served, or were until so long ago."""
    is_still = silent_seconds > 1
    one = {"received": 200, "missing": 0, "silent_seconds": silent_seconds, "connected": True, "code": None}
    ages = {"p50_seconds": silent_seconds if is_still else 0.001, "p99_seconds": silent_seconds if is_still else 0.003}
    last = {"stopped_seconds": None, "reason": None, "returned": False, "retained": 0, "lost": 0}
    return {
        "published": 200,
        "waiting": 100 if is_still else 0,
        "publishing_seconds": silent_seconds if is_still else 0.0,
        "healthy": {"clients": clients - 1, "received_per_second": 0.0 if is_still else 20.0 * (clients - 1)}
        | {"silent_seconds": silent_seconds, **ages},
        "drops": 0,
        "clients": [dict(one) for _ in range(clients - 1)],
        "stopping": {**one, **last, **stopping},
    }


def demo(phase: str = "calm", *, clients: int = 5, **fields: Any) -> dict[str, Any]:
    """A story in which everybody is served, but for what `fields` say."""
    sides = {"tutorial": side(clients=clients), "fanwise": side(clients=clients)}
    return {"running": True, "phase": phase, "seconds": 10.0, "rate": 20, "size": 4096, "sides": sides, **fields}


def frozen(phase: str, seconds: float, *, running: bool = True, at: float = 10.0, **stopping: Any) -> dict[str, Any]:
    """A story in which one has stopped reading. `stopping` is what is known of Fanwise's one."""
    sides = {
        "tutorial": side(silent_seconds=seconds, stopped_seconds=seconds),
        "fanwise": side(**{"stopped_seconds": seconds, **stopping}),
    }
    return demo(phase, running=running, seconds=at, sides=sides)


def lasting(app: ASGIApp) -> ASGIApp:
    """An application whose static files a browser need not ask for again: that it asks costs a quarter of a page."""

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_lasting(message: Message) -> None:
            if message["type"] == "http.response.start" and "/static/" in scope["path"]:
                MutableHeaders(scope=message)["Cache-Control"] = "max-age=3600"
            await send(message)

        await app(scope, receive, send_lasting if scope["type"] == "http" else send)

    return asgi


@cache
def _the_port() -> int:
    """The same for each that is staged here: what a browser has compiled of the page's scripts, it uses again."""
    return free_port()


class Staged:
    """Serves the page, and what is put on stage for it, from a thread of its own.

    Attributes:
        figures: Answered to `GET /stats`; `tick` and `show` tell them to who watches.
        demo: Answered to `GET /demo`.
        past: Answered to `GET /stats/past`.
        asked: [(method, path, body)] of what the page wanted to have done.
        statuses: {path: status} of what is refused.
    """

    def __init__(self, *, api_key: str | None = None, port: int | None = None, prefix: str = "") -> None:
        self.port = _the_port() if port is None else port
        self.api_key = api_key
        self.prefix = prefix
        self.figures = Figures()
        self.demo: dict[str, Any] = {"available": True, "why": None, "max_clients": 200, "status": None}
        self.past: dict[str, Any] = {"seconds": 12, "bounds": PAST_BOUNDS, "points": []}
        self.asked: list[tuple[str, str, Any]] = []
        self.statuses: dict[str, int] = {}
        self._access = Access(api_key=api_key)
        self._live = Node(history_messages=300, queue_messages=1000)
        self._chat = Node()
        self._server: PromptServer
        self._thread: threading.Thread
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}/"

    def tick(self, **happened: Any) -> None:
        """A second passes."""
        self.say("stats", self.figures.tick(**happened))

    def busy(self) -> None:
        """Puts something into every part of the page."""
        figures = self.figures
        figures.clients = [client(1, lag=12, lag_bytes=1500, behind_seconds=2.5, state="behind"), client(2)]
        figures.channels = [channel("lobby"), channel("news/world")]
        figures.forgiven = {"seconds": 12.9, "bound": "stall_seconds", "hidden_seconds": 2.9, "channel": "lobby"}
        figures.closed_clients = [gone(3), gone(4, CloseReason.OPERATOR)]
        self.tick()
        self.tick(clients=2, behind=1, channels=2)
        self.tick(
            totals={"connections": 4, "publications": 50, "deliveries": 2000, "delivered_bytes": 300_000},
            dropped={"closed_slow": 30, "gap_slow": 12},
            closed={"slow": 1, "lost": 2},
            ages={0.0015: 1980},
            late={0.4: 20},
            lags={0: 4, 12: 4},
            clients=2,
        )

    def show(self) -> None:
        """The lists, as they stand, to who looks at them."""
        self.wait(lambda: self.listeners("lists") > 0)
        self.say("lists", self.figures.lists())

    def play(self, document: dict[str, Any]) -> None:
        """What the demo does, to who looks at it."""
        self.wait(lambda: self.listeners("demo") > 0)
        self.say("demo", document)

    def say(self, channel: str, document: dict[str, Any]) -> None:
        self._live.publish_threadsafe(channel, document).result()

    def listeners(self, channel: str) -> int:
        """How many of those who watch listen to a channel."""
        found = self._live.inspect.channel(channel)
        return found.clients if found is not None else 0

    def wait(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds in the server's loop."""
        asyncio.run_coroutine_threadsafe(until(condition), self._loop).result(60)

    def __enter__(self) -> Self:
        app = FastAPI(lifespan=self._lifespan)
        self._add_routes(app)
        app.include_router(page_routes(), prefix=self.prefix)
        app.include_router(build_router(self._chat), prefix=self.prefix)
        config = uvicorn.Config(
            lasting(app),
            port=self.port,
            ws=FanwiseProtocol,
            ws_per_message_deflate=False,
            log_config=None,
            lifespan="on",
        )
        config.timeout_graceful_shutdown = 1
        self._server = PromptServer(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()))
        self._thread.start()
        assert self._started.wait(60)
        self.wait(lambda: self._server.started)
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Holds the server's loop. When it goes on, it accepts what has come meanwhile, and stops in the same turn."""
        held, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            go_on.wait()
            due = self._loop.time() + 2 * LOOK_SECONDS
            while self._loop.time() < due:  # then the server looks whether it is to stop
                pass

        self._loop.call_soon_threadsafe(hold)
        held.wait()
        try:
            yield
        finally:
            self._server.should_exit = True
            go_on.set()

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        async with self._live, self._chat:
            self._loop = asyncio.get_running_loop()
            self._started.set()
            yield

    def _add_routes(self, app: FastAPI) -> None:
        app.add_api_route(f"{self.prefix}/stats", self._stats)
        app.add_api_route(f"{self.prefix}/stats/past", self._past)
        app.add_api_route(f"{self.prefix}/demo", self._demo)
        app.add_api_route(f"{self.prefix}/demo", self._do, methods=["PUT", "DELETE"])
        app.add_api_route(f"{self.prefix}/clients/{{id:path}}", self._do, methods=["DELETE"])
        app.add_api_websocket_route(f"{self.prefix}/live", self._watch)

    async def _stats(self, request: Request) -> Response:
        return JSONResponse(self.figures.document()) if self._access.keys.roles(request) else refusal(401)

    async def _past(self, request: Request) -> Response:
        if not self._access.keys.roles(request):
            return refusal(401)
        return refusal(self.statuses["past"]) if "past" in self.statuses else JSONResponse(self.past)

    async def _demo(self) -> Response:
        return JSONResponse(self.demo)

    async def _do(self, request: Request) -> Response:
        path = f"clients/{request.path_params['id']}" if "id" in request.path_params else "demo"
        self.asked.append((request.method, path, await request.json() if request.method == "PUT" else None))
        status = self.statuses.get(path, 200 if request.method == "PUT" else 204)
        if status >= 400:
            return refusal(status)
        return JSONResponse(self.demo["status"]) if status == 200 else Response(status_code=status)

    async def _watch(self, websocket: WebSocket) -> None:
        if not self._access.keys.roles(websocket):
            await refuse(websocket, 401, "the key, please")
            return
        if "live" in self.statuses:
            await refuse(websocket, self.statuses["live"], "not now")
            return
        async with connect(self._live, websocket, subprotocol=SUBPROTOCOL, dialect=JSON) as watcher:
            session = JsonSession(self._live, watcher, max_subscriptions=9, may_publish=False)
            welcome(self._live, watcher, max_subscriptions=9)
            async for kind, data in watcher.received():
                waits = session.work(kind, data)
                if waits is not None:
                    await waits


def refusal(status: int) -> Response:
    return JSONResponse({"error": {"code": "refused", "message": f"refused <b>with</b> {status}"}}, status)

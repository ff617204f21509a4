"""An application with a demo, and what it told of it."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from fanwise.broadcaster.node import Node
from fanwise.routes.auth.guards import Access
from fanwise.routes.demo.controller import DemoController
from fanwise.routes.demo.routes import DemoStatus, demo_routes
from fanwise.routes.demo.target import Target
from fanwise.routes.router import build_router

from .live import Live, app_of, running


class Told:
    """The documents that a demo was told with, each checked against the model."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    def __call__(self, document: dict[str, Any]) -> None:
        DemoStatus.model_validate(document)
        self.documents.append(document)
        self._news.set()

    async def reached(self, phase: str) -> dict[str, Any]:
        """The next document of this phase."""
        return await self.where(lambda told: told["phase"] == phase)

    async def where(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next document of which `condition` holds; the test's own time limit ends a wait that is in vain."""
        seen = len(self.documents)
        while True:
            for document in self.documents[seen:]:
                if condition(document):
                    return document
            seen = len(self.documents)
            self._news.clear()
            await self._news.wait()


class Staged:
    """A running application with a demo, which may be left in whatever state."""

    def __init__(self, live: Live, demo: DemoController, broadcaster: Node, told: Told) -> None:
        self.live = live
        self.demo = demo
        self.broadcaster = broadcaster
        self.told = told

    @property
    def target(self) -> Target:
        return local(self.live.port)


def local(port: int) -> Target:
    return Target(2, ("127.0.0.1", port), f"127.0.0.1:{port}", "")


@asynccontextmanager
async def staged(
    *,
    fast: bool = True,
    access: Access | None = None,
    broadcaster: Node | None = None,
    prefix: str = "",
    **options: Any,
) -> AsyncIterator[Staged]:
    """Serves the routes of a broadcaster and its demo while the context lasts."""
    broadcaster = Node() if broadcaster is None else broadcaster  # an empty one is falsy
    access, told = access or Access(), Told()
    demo = DemoController(broadcaster, send=told, **options)

    @asynccontextmanager
    async def run(_app: Any) -> AsyncIterator[None]:
        async with broadcaster, demo:
            yield

    router = build_router(broadcaster, access=access, lifespan=run)
    router.routes[:0] = demo_routes(demo, broadcaster, access).routes  # before those of a server without demo
    async with running(app_of(router, prefix=prefix), fast=fast) as live:
        yield Staged(live, demo, broadcaster, told)


def sockets() -> int:
    """How many sockets this process has open. Event loops open other things when they need them first."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208 - what is listed may be gone
        with suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")  # noqa: PTH115 - likewise
    return found


def sockets_before() -> int:
    """The same, after those that nobody holds any more have gone."""
    gc.collect()
    return sockets()

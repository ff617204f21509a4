"""A run of the demo: a publisher, its clients, and their state."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from time import monotonic
from typing import Any

from ...broadcaster.node import Node
from ...logs.events import Event, log
from ...tools.load.tutorial import TutorialLoop
from ...tools.load.wire import Handshake
from .clients import Clients
from .plan import Plan
from .publisher import Publisher
from .stream import Stream
from .target import Target

CHANNEL = "fanwise.demo"


class Run:
    """A run of the demo in one mode. It begins when it is made, on the event loop, and lasts until it is over.

    Args:
        plan: Clients and messages.
        target: The address that the clients connect to.
        broadcaster: The node that has the channel.
        forget_seconds: Time after the last change at which it ends.

    Attributes:
        over: Set when it has ended.
        token: Lets a WebSocket into the tutorial loop, which is for the demo's own clients.
        tutorial: The loop that sends to its clients; None when a channel does.
    """

    def __init__(self, plan: Plan, *, target: Target, broadcaster: Node, forget_seconds: float) -> None:
        self.plan = plan
        self.target = target
        self.over = asyncio.Event()
        self.token = secrets.token_urlsafe(16)
        self.tutorial = TutorialLoop() if plan.mode == "tutorial" else None
        publish: Callable[[str], Awaitable[object]]
        if self.tutorial is None:
            publish, url = partial(broadcaster.publish, CHANNEL), target.url("/ws", f"channel={CHANNEL}")
        else:
            publish, url = self.tutorial.publish, target.url("/demo/tutorial", f"token={self.token}")
        self._forget_seconds = forget_seconds
        self._stream = Stream(monotonic())
        self._publisher = Publisher(
            self._stream, publish, rate_per_second=plan.rate_per_second, size_bytes=plan.size_bytes
        )
        self._clients = Clients(
            target,
            Handshake(url, subprotocol=None, headers=target.headers),
            stream=self._stream,
            on_restart=self.abandon,
        )
        self._clients.resize(plan.counts())
        self._tasks = {self._start(self._publisher.run(), "publisher"), self._start(self._clients.open(), "clients")}
        self._timer = self._end_later()

    def change(self, plan: Plan) -> None:
        """Goes on with another plan of the same mode: clients come and go, the others are not touched."""
        self.plan = plan
        self._publisher.rate_per_second = plan.rate_per_second
        self._publisher.size_bytes = plan.size_bytes
        self._clients.resize(plan.counts())
        self._timer.cancel()
        self._timer = self._end_later()

    def status(self) -> dict[str, Any]:
        """The document (`routes.DemoStatus`). O(clients)."""
        return {
            "running": not self.over.is_set(),
            "mode": self.plan.mode,
            "seconds": round(monotonic() - self._stream.began, 3),
            "rate": self.plan.rate_per_second,
            "size": self.plan.size_bytes,
            "published": self._stream.published,
            "publishing_seconds": round(self._publisher.publishing_seconds(), 3),
            **self._clients.status(),
        }

    def abandon(self) -> None:
        """Ends it, also in the midst of a publication that cannot go on. Idempotent."""
        self.over.set()
        self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._clients.leave()

    async def close(self) -> None:
        """Ends it, and returns when its tasks are done."""
        self.abandon()
        await asyncio.wait(self._tasks)

    def _end_later(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._forget_seconds, self.abandon)

    def _start(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine, name=f"fanwise demo {name}")
        task.add_done_callback(partial(self._done, name))
        return task

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log(Event.DEMO_FAILED, part=name, error=task.exception())
            self.abandon()

"""A run of the demo: two sides that are served at once, the pace of both, and the story."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from functools import partial
from time import monotonic
from typing import Any, Final

from ...broadcaster.node import Node
from ...logs.events import Event, log
from ...tools.load.tutorial import TutorialLoop
from ..json_models import SUBPROTOCOL
from .plan import Plan
from .publisher import keep_pace
from .side import Mode, Side
from .story import STORY_SECONDS, Phase, Seen, Story
from .stream import Stream
from .target import Target

CHANNEL: Final = "fanwise.demo"
_TURN_SECONDS: Final = 0.05  # between two looks at how things stand


class Run:
    """A story that is played. It begins when it is made, on the event loop, and lasts until it is over.

    Args:
        plan: Clients and messages.
        target: The address that the clients connect to.
        broadcaster: The node that has the channel.

    Attributes:
        over: Set when it has ended.
        token: Lets a WebSocket into the tutorial loop, which is for the demo's own clients.
        tutorial: The loop that sends to the clients of the other side.
    """

    def __init__(self, plan: Plan, *, target: Target, broadcaster: Node) -> None:
        self.plan = plan
        self.over = asyncio.Event()
        self.token = secrets.token_urlsafe(16)
        self.tutorial = TutorialLoop()
        self._broadcaster = broadcaster
        self._stream = Stream(monotonic())
        self._story = Story(monotonic())
        self._last: dict[str, Any] | None = None  # the document of the end
        self._sides = self._make_sides(target)
        publishers = [side.publisher for side in self._sides.values()]
        pace = keep_pace(self._stream, publishers, rate_per_second=plan.rate_per_second)
        self._tasks = {self._start(pace, "pace"), self._start(self._play(), "story")}
        for mode, side in self._sides.items():
            self._tasks |= {self._start(side.publisher.run(), f"{mode} publisher")}
            self._tasks |= {self._start(side.open(), f"{mode} clients")}
        self._timer = asyncio.get_running_loop().call_later(2 * STORY_SECONDS, self.abandon)

    def status(self) -> dict[str, Any]:
        """The document (`routes.DemoStatus`); after the end that of the end. O(clients)."""
        return self._document(running=True) if self._last is None else self._last

    def abandon(self) -> None:
        """Ends it, also in the midst of a publication that cannot go on. Idempotent."""
        if self._last is None:
            self._last = self._document(running=False)
        self.over.set()
        self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        for side in self._sides.values():
            side.leave()

    async def close(self) -> None:
        """Ends it, and returns when its tasks are done."""
        self.abandon()
        await asyncio.wait(self._tasks)
        for side in self._sides.values():
            await side.close()

    async def _play(self) -> None:
        fanwise = self._sides["fanwise"]
        while True:
            await asyncio.sleep(_TURN_SECONDS)
            connected = all(side.connected for side in self._sides.values())
            if not self._story.turn(monotonic(), Seen(connected, fanwise.dropped, fanwise.caught_up)):
                continue
            if self._story.phase is Phase.STOPPED:
                for side in self._sides.values():
                    side.stop_one()
            elif self._story.phase is Phase.RETURNING:
                fanwise.bring_back()
            elif self._story.phase is Phase.OVER:
                self.abandon()

    def _make_sides(self, target: Target) -> dict[Mode, Side]:
        make = partial(Side, self.plan, stream=self._stream, target=target, on_restart=self.abandon)
        loop = make(publish=self.tutorial.publish, url=target.url("/demo/tutorial", f"token={self.token}"))
        fanwise = make(
            publish=partial(self._broadcaster.publish, CHANNEL),
            url=target.url("/ws", f"channel={CHANNEL}"),
            channel=CHANNEL,
            subprotocol=SUBPROTOCOL,
            reason_of=self._reason_of,
        )
        return {"tutorial": loop, "fanwise": fanwise}

    def _reason_of(self, address: str) -> str | None:
        """Returns the server's reason for the end of the client at an address; None while it is open."""
        for gone in reversed(self._broadcaster.inspect.closed()):
            if gone.address == address:
                return f"{gone.reason.code} {gone.reason.name.lower()}"
        return None

    def _document(self, *, running: bool) -> dict[str, Any]:
        return {
            "running": running,
            "phase": self._story.phase.value,
            "seconds": round(monotonic() - self._stream.began, 3),
            "rate": self.plan.rate_per_second,
            "size": self.plan.size_bytes,
            "sides": {mode: side.status() for mode, side in self._sides.items()},
        }

    def _start(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine, name=f"fanwise demo {name}")
        task.add_done_callback(partial(self._done, name))
        return task

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log(Event.DEMO_FAILED, part=name, error=task.exception())
            self.abandon()

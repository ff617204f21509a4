"""The stage: one show at a time, started, changed and stopped from outside, and told of while it runs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from ...broadcaster.node import Node
from ...logs.events import Event, log
from ...tools.load.tutorial import TutorialLoop
from .plan import Plan
from .run import Run
from .target import Target

TELL_SECONDS = 0.25  # how often it is told how the show goes, and looked at whether the server is about to stop


class DemoController:
    """Owns the invariant that at most one show runs, and none after the context.

    Args:
        broadcaster: Whose demo it is.
        tell: Called with the document four times a second while a show runs, and once more when it has ended. If it
            fails, the show goes on.
        max_clients: Simulated clients that the demo may open; 0: there is no demo.
        everybody: Whether those may start it, too, who are not on this machine.
        forget_seconds: A show ends by itself so long after its last change: somebody has forgotten it.
    """

    def __init__(
        self,
        broadcaster: Node,
        *,
        tell: Callable[[dict[str, Any]], None],
        max_clients: int = 200,
        everybody: bool = False,
        forget_seconds: float = 3600.0,
    ) -> None:
        self.max_clients = max_clients
        self.available = max_clients > 0
        self.everybody = everybody
        self.max_message_bytes = broadcaster.max_message_bytes
        self._broadcaster = broadcaster
        self._tell = tell
        self._forget_seconds = forget_seconds
        self._show: Run | None = None
        self._untold: Run | None = None  # the show that could not be told of: the log says so once
        self._watcher: asyncio.Task[None] | None = None  # of the show, or of the last one
        self._changing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def status(self) -> dict[str, Any] | None:
        """The document of the running show; None if there is none. O(simulated clients)."""
        return None if self._show is None else self._show.status()

    def tutorial(self, token: str) -> TutorialLoop | None:
        """The loop that `token` lets into; None if it does not, or there is none."""
        show = self._show
        if show is None or not secrets.compare_digest(show.token.encode(), token.encode()):
            return None
        return show.tutorial

    async def play(self, plan: Plan, target: Target) -> dict[str, Any]:
        """Starts a show, or changes the running one; returns its document.

        In the same mode it goes on with the clients that it has. Another mode is another show.

        Raises:
            DrainingError: The server is about to stop.
            FullError: The server takes no clients.
            NotRunningError: The broadcaster was not started.
        """
        async with self._changing:
            before = self._show
            if before is None or before.over.is_set():
                self._broadcaster.check_room()
            elif (before.plan.mode, before.target.server) == (plan.mode, target.server):
                before.change(plan)
                return before.status()
            show = self._show = Run(
                plan, target=target, broadcaster=self._broadcaster, forget_seconds=self._forget_seconds
            )
            watched, self._watcher = self._watcher, asyncio.create_task(self._watch(show), name="fanwise demo watcher")
            self._watcher.add_done_callback(_watched)
            if before is not None and watched is not None:
                before.abandon()
                await asyncio.wait({watched})
            return show.status()

    async def stop(self) -> None:
        """Ends the show, if there is one, and returns when nothing is left of it."""
        async with self._changing:
            if self._show is not None and self._watcher is not None:
                self._show.abandon()
                await asyncio.wait({self._watcher})

    async def _watch(self, show: Run) -> None:
        try:
            while not show.over.is_set() and not self._broadcaster.draining:
                self._say(show)
                with suppress(TimeoutError):
                    async with asyncio.timeout(TELL_SECONDS):
                        await show.over.wait()
        finally:
            await show.close()
            last, self._show = self._show is show, None if self._show is show else self._show
        if last:
            self._say(show)

    def _say(self, show: Run) -> None:
        document = show.status()
        try:
            self._tell(document)
        except Exception as error:  # noqa: BLE001 - whoever is told is a stranger here, and no reason to end
            if self._untold is not show:
                self._untold = show
                log(Event.DEMO_FAILED, part="news", error=error)


def _watched(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log(Event.DEMO_FAILED, part="watcher", error=task.exception())

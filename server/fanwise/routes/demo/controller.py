"""The controller: one story at a time. It starts and stops the run, and sends its state meanwhile."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from ...broadcaster.node import Node
from ...logs.events import Event, log
from ...tools.load.tutorial import TutorialLoop
from .plan import LEAST_CLIENTS, Plan
from .run import Run
from .side import MODES
from .target import Target

SEND_SECONDS = 0.25  # between two messages with the state, and two checks whether the server is about to stop


class DemoController:
    """Owns the invariant that at most one run exists, and none after the context.

    Args:
        broadcaster: The node that the demo publishes to.
        send: Called with the document four times a second while a run runs, and once more when it has ended. If it
            fails, the run goes on.
        max_clients: Simulated clients that the demo may open, both sides together; below 4 there is no demo.
        everybody: Whether peers that are not on this machine may start the demo, too.
        workers: Processes behind the port: clients may reach any of them, and the demo needs all of its own.

    Attributes:
        max_clients: Clients that each side may have.
    """

    def __init__(
        self,
        broadcaster: Node,
        *,
        send: Callable[[dict[str, Any]], None],
        max_clients: int = 200,
        everybody: bool = False,
        workers: int = 1,
    ) -> None:
        self.max_clients = max_clients // len(MODES)
        self.available = self.max_clients >= LEAST_CLIENTS
        self.everybody = everybody
        self.workers = workers
        self.max_message_bytes = broadcaster.max_message_bytes
        self._broadcaster = broadcaster
        self._send = send
        self._run: Run | None = None
        self._unsent: Run | None = None  # the run whose state could not be sent: logged once
        self._watcher: asyncio.Task[None] | None = None  # of the run, or of the last one
        self._changing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def status(self) -> dict[str, Any] | None:
        """Returns the state of the run; None if there is none. O(simulated clients)."""
        return None if self._run is None else self._run.status()

    def tutorial(self, token: str) -> TutorialLoop | None:
        """Returns the tutorial loop that `token` opens; None for another token, and without such a loop."""
        run = self._run
        if run is None or run.over.is_set() or not secrets.compare_digest(run.token.encode(), token.encode()):
            return None
        return run.tutorial

    async def play(self, plan: Plan, target: Target) -> dict[str, Any]:
        """Starts a story, or joins the one that is played; returns its state.

        A second plan changes nothing: each watcher sees the story to its end.

        Raises:
            DrainingError: The server is about to stop.
            FullError: All places for clients are taken.
            NotRunningError: The broadcaster was not started.
        """
        async with self._changing:
            if self._watcher is not None and (self._run is None or self._run.over.is_set()):
                await asyncio.wait({self._watcher})  # the end of the story before
            if self._run is not None:
                return self._run.status()
            self._broadcaster.check_room()
            run = self._run = Run(plan, target=target, broadcaster=self._broadcaster)
            self._watcher = asyncio.create_task(self._watch(run), name="fanwise demo watcher")
            self._watcher.add_done_callback(_watched)
            return run.status()

    async def stop(self) -> None:
        """Ends the run, if there is one, and returns when nothing is left of it."""
        async with self._changing:
            if self._run is not None and self._watcher is not None:
                self._run.abandon()
                await asyncio.wait({self._watcher})

    async def _watch(self, run: Run) -> None:
        try:
            while not run.over.is_set() and not self._broadcaster.draining:
                self._send_state(run)
                with suppress(TimeoutError):
                    async with asyncio.timeout(SEND_SECONDS):
                        await run.over.wait()
        finally:
            await run.close()
            self._run = None
        self._send_state(run)

    def _send_state(self, run: Run) -> None:
        document = run.status()
        try:
            self._send(document)
        except Exception as error:  # noqa: BLE001 - a callback that fails does not end the run
            if self._unsent is not run:
                self._unsent = run
                log(Event.DEMO_FAILED, part="news", error=error)


def _watched(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log(Event.DEMO_FAILED, part="watcher", error=task.exception())

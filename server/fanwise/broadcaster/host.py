"""The host: what clients get of the event loop, which are turns, tasks, and an end when one of them fails."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from ..core.codes import ErrorCode, close_of
from ..core.hub import Hub
from ..core.reasons import CloseReason
from .client import Client, State
from .direct import DirectSender
from .event_log import EventLog
from .exclusions import Exclusions
from .publisher import Publisher
from .registry import ClientRegistry
from .successors import Successors
from .turns import TurnScheduler


class ClientHost:
    """A `client.ClientOwner`. Owns the invariant that a client is not left open without a turn or a task to come.

    Args:
        loop: The event loop of all its clients.
        registry: Notified of each change of a client's state.
        event_log: Notified of what has failed.
        turn_seconds: How long clients that are behind may hold the loop together, in one turn.
        hub: The channels, and the counters.
        publisher: What publishes to them.
        pause_seconds: The longest pause of a client whose queues skip.

    Attributes:
        successors: Moves clients whose channel goes on elsewhere.
        detours: What keeps clients that have caught up from their ready groups.
        turns: The order in which clients that are behind are served.
        tasks: The tasks of clients that have not ended.
        changed: Notified of each change of a client's state: the registry, or a recording before it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        registry: ClientRegistry,
        event_log: EventLog,
        *,
        turn_seconds: float,
        hub: Hub,
        publisher: Publisher,
        pause_seconds: float = math.inf,
    ) -> None:
        self.pause_seconds = pause_seconds
        self.turns = TurnScheduler(loop, turn_seconds=turn_seconds)
        self.successors = Successors(hub, self.turns.enlist)
        self.exclusions = Exclusions(hub, registry, move=self.successors.move)
        publisher.exclude = self.exclusions.exclude
        self.detours = hub.detours
        self.detour = self.exclusions.detour
        self.tasks: set[asyncio.Task[None]] = set()
        self.enlist = self.turns.enlist
        self.changed: Callable[[Client], None] = registry.changed
        self.receiving = registry.note_receiving
        self.ponged = hub.tally.ping_rtt.observe
        self.direct = DirectSender(publisher, registry, queue_messages=hub.queue_messages, queue_bytes=hub.queue_bytes)
        self.send = self.direct.send
        self._registry = registry
        if registry.hooks is not None:
            registry.hooks.open(self.enlist)
        self._loop = loop
        self._event_log = event_log

    async def close_all(self, audit: asyncio.Task[None], *, timeout: float) -> None:
        """Closes all clients, waits for them and for the audit, and makes the calls of hooks that wait."""
        for client in list(self._registry):
            client.close(CloseReason.SHUTDOWN)
        await asyncio.wait({audit, *self.tasks}, timeout=timeout)
        if self._registry.hooks is not None:
            await self._registry.hooks.finish()

    def start_task(self, client: Client, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts the client's task, and aborts the client with INTERNAL should the task end before the client has."""
        task = self._loop.create_task(work, name=f"fanwise client {client.id}")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(lambda task: self._task_ended(client, task))
        return task

    def failed(self, client: Client, error: BaseException) -> None:
        """Logs what has failed, and aborts its client."""
        self._event_log.writer_failed(client.id, error)
        if client.state is not State.CLOSED:
            client.abort(CloseReason.INTERNAL)

    def _task_ended(self, client: Client, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.failed(client, error)
        elif client.state is not State.CLOSED:
            client.abort(CloseReason.INTERNAL)


@asynccontextmanager
async def lasting(add: Callable[[], Client], close_seconds: float) -> AsyncIterator[Client]:
    """The client that `add` makes, for as long as the context lasts; its end may take `close_seconds`."""
    client = add()
    try:
        yield client
    except Exception as error:
        close_for(client, error)
        raise
    finally:
        client.close()
        if client.task is not None:
            await asyncio.wait({client.task}, timeout=close_seconds)


def close_for(client: Client, error: BaseException) -> ErrorCode | None:
    """Closes a client for what its endpoint has raised; returns the code if the mistake is the peer's."""
    code, reason, text = close_of(error) or (None, CloseReason.INTERNAL, "")
    client.close(reason, text=text)
    return code


def fail(client: Client, error: Exception, event_log: EventLog, *, reject: Callable[[ErrorCode], None]) -> None:
    """Closes a client for what working on its message has raised, and counts or logs that."""
    was_open, code = client.reason is None, close_for(client, error)
    if code is None:
        event_log.writer_failed(client.id, error)
    elif was_open:  # messages behind the one that ends it are no refusals of their own
        reject(code)

"""Hooks: functions of the application, called on the event loop for what becomes of clients.

A hook observes and decides nothing: `may_subscribe`, `may_publish` and `authorise` refuse. A decision that fails has to
refuse; a hook that fails harms nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from inspect import iscoroutine, iscoroutinefunction
from typing import Any, Final

from ..core.publication import Kind
from ..core.reasons import CloseReason
from ..logs.events import Event, log
from .client import Client
from .sink import Heard
from .turns import TURN_SECONDS, Turn

SLOW_SECONDS: Final = 0.1  # a call of a hook that holds the event loop for longer is logged
MOST_WAITING: Final = 1_024  # clients; a newcomer beyond has the oldest of them worked on first
_REPEAT_SECONDS: Final = 60.0  # between two lines about one hook
_TEXT = Kind.TEXT  # as a global: CPython 3.11 makes a call of each attribute of an enum


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Functions that are called for what becomes of clients. All are synchronous, and run on the event loop.

    The calls for one client come in this order: `on_connect` once; `on_subscribe` and `on_message` as it happens;
    `on_drop` at most once; `on_disconnect` once. They come soon after what they are about, in turns; `on_message` comes
    before the message is worked on. What a hook raises is logged once a minute, and changes nothing.

    Args:
        on_connect: A client has come.
        on_disconnect: A client is closing or closed, for a reason. Nothing can be sent to it any more.
        on_subscribe: A client has come onto a channel.
        on_message: A client has sent a message: text as str, binary as bytes, in the words of its dialect.
        on_drop: The server has given a client up, for a cause: SLOW, STALLED, MEMORY or NO_PONG. The last argument is
            its lag: how many publications it still had to get.

    Raises:
        TypeError: One of them is no function, or a coroutine function, which nothing would await.
    """

    on_connect: Callable[[Client], None] | None = None
    on_disconnect: Callable[[Client, CloseReason], None] | None = None
    on_subscribe: Callable[[Client, str], None] | None = None
    on_message: Callable[[Client, str | bytes], None] | None = None
    on_drop: Callable[[Client, CloseReason, int], None] | None = None

    def __post_init__(self) -> None:
        """Checks the functions."""
        for field in fields(self):
            hook = getattr(self, field.name)
            if hook is None:
                continue
            if not callable(hook):
                raise TypeError(f"{field.name} is a function or None, not {hook!r:.80}")
            if iscoroutinefunction(hook) or iscoroutinefunction(getattr(hook, "__call__", None)):  # noqa: B004 - of an object
                raise TypeError(
                    f"{field.name} is a synchronous function: nothing would await a coroutine. "
                    "It may start a task, with asyncio.create_task"
                )


class HookRunner:
    """Calls hooks. Owns the invariant that each call for a client is made once, in order, and from no other's stack.

    A client may go in the middle of a sweep, where a hook must not run: its calls wait for their turn.

    Args:
        hooks: The functions.
        clock: Seconds.
    """

    def __init__(self, hooks: Hooks, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._hooks = hooks
        self._clock = clock
        self._waiting: dict[Client, list[tuple[str, tuple[Any, ...]]]] = {}  # {client: its calls}, the oldest first
        self._enlist: Callable[[Callable[[], bool]], None] | None = None
        self._said: dict[tuple[Event, str], tuple[float, int]] = {}  # {line: when it came last, calls since}

    def open(self, enlist: Callable[[Callable[[], bool]], None]) -> None:
        """Begins to call hooks, in the turns that `enlist` gives."""
        self._enlist = enlist
        if self._waiting:
            enlist(self._run_next)

    async def finish(self) -> None:
        """Makes all calls that wait: the node stops."""
        turn = Turn(TURN_SECONDS)
        while self._waiting:
            self._run_next()
            await turn.give_way()
        self._enlist = None

    # What a node, its registry and its connections call.

    def connected(self, client: Client) -> None:
        """A client has come; it may be on a channel already."""
        self._make_room()
        if self._hooks.on_connect is not None:
            self._wait(client, "on_connect", client, first=True)

    def subscribed(self, client: Client, channel: str) -> None:
        """A client has come onto a channel."""
        if self._hooks.on_subscribe is not None:
            self._wait(client, "on_subscribe", client, channel)

    def gone(self, client: Client, reason: CloseReason, *, dropped: bool, lag: int) -> None:
        """A client has gone, perhaps because the server has given it up."""
        if dropped and self._hooks.on_drop is not None:
            self._wait(client, "on_drop", client, reason, lag)
        if self._hooks.on_disconnect is not None:
            self._wait(client, "on_disconnect", client, reason)

    def heard(self, client: Client, kind: Kind, data: bytes) -> None:
        """A message of a client has come, and is not worked on yet. Nothing is called for a client that has gone."""
        if client in self._waiting:
            self._run(client)
        if client.reason is None and self._hooks.on_message is not None:
            self._call("on_message", client, data.decode() if kind is _TEXT else data)

    def listener(self, client: Client) -> Heard | None:
        """Returns what is to hear of the messages of `client` as they come; None: nothing is."""
        return None if self._hooks.on_message is None else partial(self.heard, client)

    def _wait(self, client: Client, hook: str, *arguments: Any, first: bool = False) -> None:
        calls = self._waiting.setdefault(client, [])
        calls.insert(0 if first else len(calls), (hook, arguments))
        if self._enlist is not None:
            self._enlist(self._run_next)

    def _make_room(self) -> None:
        """Makes calls that wait, where clients come faster than hooks return: the next ones come later then."""
        while len(self._waiting) >= MOST_WAITING:
            self._run_next()

    def _run_next(self) -> bool:
        """Makes the calls for the client that has waited for longest. True if there are more."""
        if self._waiting:
            self._run(next(iter(self._waiting)))
        return bool(self._waiting)

    def _run(self, client: Client) -> None:
        for hook, arguments in self._waiting.pop(client):
            self._call(hook, *arguments)

    def _call(self, hook: str, *arguments: Any) -> None:
        began = self._clock()
        try:
            returned = getattr(self._hooks, hook)(*arguments)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, it harms nobody else
            self._say(Event.HOOK_FAILED, hook, error=error)
        else:
            if iscoroutine(returned):
                returned.close()
                self._say(Event.HOOK_FAILED, hook, error=TypeError("it has returned a coroutine, which nothing awaits"))
        seconds = self._clock() - began
        if seconds > SLOW_SECONDS:
            self._say(Event.HOOK_SLOW, hook, seconds=seconds)

    def _say(self, event: Event, hook: str, **fields: Any) -> None:
        """Logs what a hook has done, once a minute; the next line counts the calls since."""
        said_at, calls = self._said.get((event, hook), (None, 0))
        now = self._clock()
        if said_at is not None and now - said_at < _REPEAT_SECONDS:
            self._said[event, hook] = said_at, calls + 1
        else:
            self._said[event, hook] = now, 0
            log(
                Event.HOOK_SLOW if event is Event.HOOK_SLOW else Event.HOOK_FAILED,
                hook=hook,
                calls=calls + 1,
                **fields,
            )

"""The synchronous client, for Flask, Celery and scripts: `from fanwise.client import SyncClient`.

with SyncClient("ws://127.0.0.1:8000/ws") as client:
    client.publish("lobby", {"hello": "world"})
    for message in client.subscribe("lobby", timeout_seconds=5.0):
        print(message.offset, message.data)
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeAlias

from ..core.publication import Position
from .batch import IN_FLIGHT
from .client import FanwiseClient, log_gap
from .codec import Direct, Filter, Gap, Message
from .errors import BatchError, ClientError, ClosedError
from .loop_thread import LoopThread, Threaded, closed
from .presence import Change, Presence
from .subscription import Item
from .tokens import Token

_BATCH = 256  # items that change threads together

_Entry: TypeAlias = Item | Direct | ClientError
_Handler: TypeAlias = Callable[[Any], object]


class SyncClient:
    """A client that waits: `FanwiseClient` on an event loop in a thread of its own. Any thread may call each method.

    The thread begins at the first call. A forked process that has the client begins with connections of its own; a
    subscription stays with the process that made it. Clients that are open at the exit of the interpreter are closed.

    Args:
        url: The address of the server: `ws://host:port/ws`, or `wss:` for TLS.
        token: The user's token, or a function that fetches one: called in a thread of its own, and may block.
        on_gap: Called with each gap at its place in an iteration, in the thread that iterates. None: a warning.
        on_presence: Called with each `Join`, `Leave` and `PresenceGap`, as `on_gap`.
        on_direct: Called with each message to this client alone, as `on_gap`.
        options: All other arguments of `FanwiseClient`.

    Raises:
        TypeError: One of the functions that are called in an iteration is a coroutine function.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        on_gap: Callable[[Gap], object] | None = None,
        on_presence: Callable[[Change], object] | None = None,
        on_direct: Callable[[Direct], object] | None = None,
        **options: Any,
    ) -> None:
        for function in (on_gap, on_presence, on_direct):
            if inspect.iscoroutinefunction(function):
                raise TypeError(f"{function.__name__} is a coroutine function: a SyncClient calls plain functions")
        self.url = url
        self._token = token
        self._options = options
        self._handlers: tuple[_Handler | None, ...] = (on_gap or log_gap, on_presence, on_direct)
        self._lock = threading.RLock()
        self._closed = False
        self._thread: LoopThread | None = None
        self._publisher = self._make()  # raises what is wrong with the arguments
        _CLIENTS.add(self)

    def publish(
        self,
        channel: str,
        data: Any,
        *,
        key: str | None = None,
        tags: Mapping[str, str] | None = None,
        traceparent: str | None = None,
    ) -> Position:
        """Publishes one message and waits for its position; arguments and errors are those of `FanwiseClient`."""
        thread, client = self._begin()
        return thread.run(client.publish(channel, data, key=key, tags=tags, traceparent=traceparent))

    def publish_many(
        self,
        channel: str,
        messages: Iterable[Any],
        *,
        key: str | None = None,
        tags: Mapping[str, str] | None = None,
        traceparent: str | None = None,
    ) -> list[Position]:
        """Publishes messages in their order, 256 at a time without an answer; returns their positions.

        Raises:
            BatchError: A message was not published, or may not have been; the last ones were not sent.
        """
        thread, client = self._begin()
        source, positions = iter(messages), list[Position]()
        about: dict[str, Any] = {"key": key, "tags": tags, "traceparent": traceparent}
        while some := list(islice(source, IN_FLIGHT)):
            try:
                positions += thread.run(client.publish_many(channel, some, **about))
            except BatchError as error:
                raise BatchError([*positions, *error.results]) from error.__cause__
        return positions

    def presence(self, channel: str) -> Presence:
        """Returns the users on a channel; errors are those of `FanwiseClient`."""
        thread, client = self._begin()
        return thread.run(client.presence(channel))

    def subscribe(
        self,
        *channels: str,
        since: Position | Mapping[str, Position] | None = None,
        last: int | None = None,
        filter: Filter | None = None,
        presence: bool = False,
        timeout_seconds: float | None = None,
    ) -> SyncSubscription:
        """Subscribes to channels, over a connection of its own; returns an iterator of their messages.

        Args:
            channels: The names of the channels.
            since: Begins after this position; for several channels `positions` of an earlier subscription.
            last: Begins so many publications before the head of each channel; not together with `since`.
            filter: Tags that a publication must have, each with a value or one of several.
            presence: Calls `on_presence` with the users that join and leave.
            timeout_seconds: The iteration ends after so many seconds without a message; None: not.

        Raises:
            ValueError: No channel, or one position for several.
            ClientError: What `FanwiseClient.subscribe` raises.
        """
        if not channels or (isinstance(since, Position) and len(channels) > 1):
            raise ValueError("subscribe to one channel or more, and say by channel where several begin")
        begins = {channels[0]: since} if isinstance(since, Position) else since or {}
        thread, client = self._begin()[0], self._make()
        asks = {channel: {"since": begins.get(channel), "last": last, "filter": filter} for channel in channels}
        positions = _subscribe(thread, client, asks, presence=presence)
        return SyncSubscription(
            self, thread, client, positions, handlers=self._handlers, timeout_seconds=timeout_seconds
        )

    def close(self) -> None:
        """Closes all connections with 1000; iterations end, and calls that wait raise ClosedError."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _make(self) -> FanwiseClient:
        token = self._token
        if callable(token) and not inspect.iscoroutinefunction(token):
            token = Threaded(token)
        return FanwiseClient(self.url, token=token, **self._options)

    def _begin(self) -> tuple[LoopThread, FanwiseClient]:
        """Returns the thread and the client that publishes; begins the thread in each process that needs one."""
        with self._lock:
            if self._closed:
                raise closed()
            if self._thread is None:
                self._thread = LoopThread()
                self._thread.keep(self._publisher)
                weakref.finalize(self, self._thread.stop, wait=False).atexit = False
            return self._thread, self._publisher

    def _forked(self) -> None:
        """Begins again in a new process, which leaves alone what the old one has open."""
        self._lock = threading.RLock()
        if self._thread is not None:
            _INHERITED.append(self._thread)
            self._thread = None
            self._publisher = self._make()


class SyncSubscription:
    """The messages of some channels, in the order of each channel's log. A loss is resumed after the last message.

    Iterating over the subscription from several threads hands each message to one of them. The subscription ends with
    `close`, at the end of a `with`, with the client, and when the program has no reference to it any more.
    """

    def __init__(
        self,
        owner: SyncClient,
        thread: LoopThread,
        client: FanwiseClient,
        positions: dict[str, Position],
        *,
        handlers: tuple[_Handler | None, ...],
        timeout_seconds: float | None,
    ) -> None:
        self._owner = owner  # which stays open
        self._thread = thread
        self._source = _Source(client)
        self._client = client
        self._positions = positions
        self._on_gap, self._on_presence, self._on_direct = handlers
        self._timeout_seconds = timeout_seconds
        self._lock = threading.RLock()
        self._closed = False
        self._waiting: deque[_Entry] = deque()
        weakref.finalize(self, _release, thread, client).atexit = False  # the thread's own end comes then

    @property
    def positions(self) -> dict[str, Position]:
        """{channel: position of the program}: store it, and give it to `subscribe` as `since` later."""
        return dict(self._positions)

    def receive(self, timeout_seconds: float | None = None) -> Message:
        """Waits for the next message. Whatever interrupts the wait, such as Ctrl-C, loses nothing.

        Raises:
            TimeoutError: No message within `timeout_seconds`; None: no limit.
            SubscribeError: A channel could not be subscribed again after a reconnect; the others go on.
            ClosedError: The subscription or its client is closed, or the server said not to come back.
            ClientError: What `FanwiseClient.receive` raises; the process was forked from the one that subscribed.
        """
        if self._thread.is_foreign:
            raise ClientError("a subscription stays with the process that made it: subscribe again in a forked one")
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        if not self._lock.acquire(timeout=-1 if timeout_seconds is None else max(0.0, timeout_seconds)):
            raise TimeoutError("no message in time: another thread waits for one")
        try:
            while True:
                item = self._next(deadline)
                if isinstance(item, Message):
                    return item
                self._handle(item)
        finally:
            self._lock.release()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        """The next message; the iteration ends after `timeout_seconds` without one, and can be gone on with."""
        try:
            return self.receive(self._timeout_seconds)
        except ClosedError:
            if self._closed or self._owner._closed:  # noqa: SLF001 - the same module
                raise StopIteration from None
            raise
        except TimeoutError:
            raise StopIteration from None

    def close(self) -> None:
        """Ends the subscription; messages that wait are dropped."""
        self._closed = True
        if not self._thread.is_foreign:
            with suppress(ClosedError):
                self._thread.run(self._thread.release(self._client))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _next(self, deadline: float | None) -> Item | Direct:
        if self._closed:
            raise closed()
        if not self._waiting:
            self._waiting = self._thread.run(self._source.take(deadline))
        item = self._waiting[0]
        if isinstance(item, Message):
            self._positions[item.channel] = item.position
        elif isinstance(item, Gap):
            self._positions[item.channel] = Position(item.epoch, item.last)
        self._waiting.popleft()
        if isinstance(item, ClientError):
            raise item
        return item

    def _handle(self, item: Gap | Change | Direct) -> None:
        handler = self._on_presence
        if isinstance(item, Gap):
            handler = self._on_gap
        elif isinstance(item, Direct):
            handler = self._on_direct
        if handler is not None:
            handler(item)


class _Source:
    """Takes what comes to a client, for another thread. What a call has taken in vain the next call returns."""

    def __init__(self, client: FanwiseClient) -> None:
        self._client = client
        self._taking: asyncio.Task[deque[_Entry]] | None = None

    async def take(self, deadline: float | None) -> deque[_Entry]:
        """Returns items, and takes no others until the caller has emptied what was returned. Raises TimeoutError."""
        if self._taking is None or (self._taking.done() and not self._taking.result()):
            self._taking = asyncio.create_task(self._take())
        seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
        done, _ = await asyncio.wait([self._taking], timeout=seconds)
        if not done:
            raise TimeoutError("no message in time")
        return self._taking.result()

    async def _take(self) -> deque[_Entry]:
        try:
            return deque([await self._client.receive(), *self._client.received(_BATCH)])
        except ClientError as error:
            return deque([error])


def _subscribe(
    thread: LoopThread, client: FanwiseClient, asks: dict[str, dict[str, Any]], *, presence: bool
) -> dict[str, Position]:
    """Returns {channel: position at which its stream begins}, or closes the client and raises the first error."""

    async def ask() -> list[Position]:
        return await asyncio.gather(*(client.subscribe(name, presence=presence, **ask) for name, ask in asks.items()))

    thread.keep(client)
    try:
        return dict(zip(asks, thread.run(ask()), strict=True))
    except BaseException:  # also what interrupts the wait; raised again
        _release(thread, client)
        raise


def _release(thread: LoopThread, client: FanwiseClient) -> None:
    """Closes the connection of a subscription that the program has lost sight of."""
    with suppress(ClosedError):
        thread.post(thread.release(client))


_CLIENTS: weakref.WeakSet[SyncClient] = weakref.WeakSet()
_INHERITED: list[LoopThread] = []  # of the process that this one was forked from; never collected, which would close it


def _close_all() -> None:
    threads = [client._thread for client in list(_CLIENTS) if client._thread is not None]  # noqa: SLF001 - as above
    for thread in threads:
        thread.stop(wait=False)
    for thread in threads:
        thread.stop()


def _after_fork() -> None:
    for client in list(_CLIENTS):
        client._forked()  # noqa: SLF001 - as above


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

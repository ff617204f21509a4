"""The broadcaster: the service that users hold. Here the hub meets the event loop, and every task is created."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

from .client import Client, Subscription
from .encoding import plain_frame
from .errors import FullError, MessageTooBigError, NotRunningError
from .hub import Channel, Hub
from .publication import Encoding, Publication
from .reasons import CloseReason
from .roster import Roster
from .sink import Sink, Source
from .statistics import Statistics, describe_channel, describe_client
from .sweep import Sweeper

logger = logging.getLogger("fanwise")

_AUDIT_SECONDS = 0.25  # how often clients that are behind are judged; a fraction of what an operator would notice


class Broadcaster:
    """Publishes to channels and keeps their clients. All methods but `publish_threadsafe` belong to the loop's thread.

    Args:
        queue_messages: How many publications a client may be behind.
        queue_bytes: How many payload bytes a client may be behind.
        history_messages: How many publications a channel's log retains, at least.
        history_bytes: How many payload bytes a channel's log retains, at least.
        history_seconds: How long a channel without clients is kept.
        max_message_bytes: The largest payload, in bytes of UTF-8 where it is text.
        max_clients: How many clients there may be.
        slice_bytes: About how much payload one write to a client carries.
        sweep_seconds: How long a sweep may hold the event loop before it gives it back.
        cohort_clients: How many clients a sweep writes to between two looks at the clock.
        close_seconds: How long a client may take over the closing handshake.
    """

    def __init__(
        self,
        *,
        queue_messages: int = 1024,
        queue_bytes: int = 1_048_576,
        history_messages: int = 1000,
        history_bytes: int = 4_194_304,
        history_seconds: float = 300.0,
        max_message_bytes: int = 65_536,
        max_clients: int = 100_000,
        slice_bytes: int = 262_144,
        sweep_seconds: float = 0.003,
        cohort_clients: int = 128,
        close_seconds: float = 5.0,
    ) -> None:
        self._hub = Hub(
            queue_messages=queue_messages,
            queue_bytes=queue_bytes,
            history_messages=history_messages,
            history_bytes=history_bytes,
            history_seconds=history_seconds,
            cohort_clients=cohort_clients,
        )
        self.max_message_bytes = max_message_bytes
        self.max_clients = max_clients
        self._slice_bytes = min(slice_bytes, queue_bytes)
        self._pace_messages = (queue_messages + 1) // 2  # so many unswept, and `publish` waits for the sweep
        self._sweep_seconds = sweep_seconds
        self._close_seconds = close_seconds
        self._roster = Roster(leave=self._leave)
        self._writers: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: Sweeper | None = None
        self._audit_task: asyncio.Task[None] | None = None
        self._starts = 0

    # Lifespan.

    async def __aenter__(self) -> Self:
        """Starts on the running event loop. May be entered more than once: the last exit stops it."""
        self._starts += 1
        if self._starts == 1:
            self._loop = asyncio.get_running_loop()
            self._sweeper = Sweeper(self._loop, slice_bytes=self._slice_bytes, sweep_seconds=self._sweep_seconds)
            self._audit_task = self._loop.create_task(self._audit(), name="fanwise audit")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Closes the clients that are left, and stops."""
        self._starts -= 1
        if self._starts == 0:
            await self._stop()

    async def _stop(self) -> None:
        assert self._audit_task is not None
        self._audit_task.cancel()
        for client in list(self._roster):
            client.close(CloseReason.RESTART)
        await asyncio.wait({self._audit_task, *self._writers}, timeout=self._close_seconds)
        self._loop = self._sweeper = self._audit_task = None

    # Publishing.

    def publish_nowait(self, channel: str, payload: str | bytes) -> Publication:
        """Appends to the channel's log and schedules its sweep. O(1), whatever the number of clients.

        Text goes out as text, bytes as a binary message. Use it in synchronous code on the loop; code that publishes
        much without ever awaiting keeps the loop, and the clients, waiting: when a queue's worth has piled up, it is
        written out from inside this call.

        Raises:
            ChannelNameError: The channel's name is not allowed.
            MessageTooBigError: The payload is above `max_message_bytes`.
            NotRunningError: The broadcaster was not started.
        """
        return self._publish(channel, payload)[1]

    async def publish(self, channel: str, payload: str | bytes) -> Publication:
        """Publishes like `publish_nowait`, at the pace of the sweeps: a slice's worth, and it waits for the next one.

        It never waits for a client. Raises what `publish_nowait` raises.
        """
        place, publication = self._publish(channel, payload)
        if place.crowded(messages=self._pace_messages, size_bytes=self._slice_bytes):
            assert self._sweeper is not None
            await self._sweeper.swept(place)
        return publication

    def _publish(self, channel: str, payload: str | bytes) -> tuple[Channel, Publication]:
        loop, sweeper, hub = self._loop, self._sweeper, self._hub
        if loop is None or sweeper is None:
            raise NotRunningError
        binary = not isinstance(payload, str)
        data = payload.encode() if isinstance(payload, str) else bytes(payload)
        size = len(data)
        if size > self.max_message_bytes:
            raise MessageTooBigError(size_bytes=size, limit_bytes=self.max_message_bytes)
        now = loop.time()
        place = hub.channel(channel, time=now)
        if place.crowded(messages=hub.queue_messages, size_bytes=hub.queue_bytes - size + 1):
            sweeper.flush(place)
        publication = hub.publish(place, data, binary=binary, time=now)
        if place.queues:
            sweeper.schedule(place)
        return place, publication

    def publish_threadsafe(self, channel: str, payload: str | bytes) -> concurrent.futures.Future[Publication]:
        """Publishes from another thread. Wait for the future now and then: it is the only thing that slows you down.

        Raises:
            NotRunningError: The broadcaster was not started. All else is raised by the future's `result()`.
        """
        if self._loop is None:
            raise NotRunningError
        return asyncio.run_coroutine_threadsafe(self.publish(channel, payload), self._loop)

    # Clients.

    def check_room(self) -> asyncio.AbstractEventLoop:
        """Returns the loop that the next client will live on.

        Raises:
            FullError: There are `max_clients` already.
            NotRunningError: The broadcaster was not started.
        """
        if self._loop is None:
            raise NotRunningError
        if len(self._roster) >= self.max_clients:
            raise FullError(limit_clients=self.max_clients)
        return self._loop

    @asynccontextmanager
    async def client(
        self,
        sink: Sink,
        listen: Callable[[], Source],
        *,
        channel: str,
        address: str = "",
        encoding: Encoding = plain_frame,
    ) -> AsyncIterator[Client]:
        """A client on `channel` for as long as the context lasts, with its writer task.

        `sink` takes what it is sent; `listen` is called when the first message from it is asked for.

        Raises:
            ChannelNameError: The channel's name is not allowed.
            FullError: There are `max_clients` already.
            NotRunningError: The broadcaster was not started.
        """
        loop = self.check_room()
        client = Client(
            secrets.token_hex(8),
            address=address,
            sink=sink,
            listen=listen,
            encoding=encoding,
            close_seconds=self._close_seconds,
            on_change=self._roster.changed,
        )
        place = self._hub.channel(channel, time=loop.time())
        client.subscribe(Subscription(place, self._hub.subscribe(place)))
        self._roster.add(client)
        sink.attach(client)
        writer = loop.create_task(client.run_writer(), name=f"fanwise writer {client.id}")
        self._writers.add(writer)
        writer.add_done_callback(self._writers.discard)
        writer.add_done_callback(lambda task: self._writer_done(client, task))
        try:
            yield client
        except Exception:
            client.close(CloseReason.INTERNAL)
            raise
        finally:
            client.close()
            await asyncio.wait({writer}, timeout=self._close_seconds)

    def _leave(self, client: Client) -> None:
        now = asyncio.get_running_loop().time()
        for channel, queue in client.subscriptions.values():
            self._hub.unsubscribe(channel, queue, time=now)

    def _writer_done(self, client: Client, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            logger.error("writer of client %s died: %r", client.id, task.exception(), exc_info=task.exception())
        # A client without a writer would be neither served nor closed. Nothing is left to do after a regular end.
        client.abandon()

    async def _audit(self) -> None:
        """Judges the clients that are behind, now and then: publishing does not look at them. O(those)."""
        while True:
            await asyncio.sleep(_AUDIT_SECONDS)
            self._roster.audit()
            self._hub.expire(asyncio.get_running_loop().time())

    # Looking at it.

    def statistics(self) -> Statistics:
        """Who is here and how things stand. O(clients + channels)."""
        return Statistics(
            clients=tuple(map(describe_client, self._roster)),
            channels=tuple(map(describe_channel, self._hub)),
            publications=self._hub.publications,
            closed={reason.name.lower(): count for reason, count in self._roster.closed.items()},
        )

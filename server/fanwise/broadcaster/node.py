"""The node: hub, publisher, registry and host of one process, on its event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from ..core.addresses import owner_of
from ..core.counters import Counters
from ..core.deflate import Deflater
from ..core.dialect import PLAIN, Dialect
from ..core.filters import ADDRESS_FILTERS, Filter, Tags, Wanted
from ..core.hub import BOUNDS, Hub, Start
from ..core.options import ChannelOptions
from ..core.publication import Kind, Position, Publication, Since, beginning
from ..core.queue import Overflow
from ..core.reasons import CloseReason
from ..core.rights import User
from ..errors import DrainingError, FullError, NotRunningError
from .audit import Audit
from .client import Client
from .drain import drain
from .event_log import EventLog
from .exclusions import Whom, id_of
from .expiries import Expiries
from .hooks import HookRunner, Hooks
from .host import ClientHost, fail, lasting
from .inspector import Inspector, limits_of
from .looplag import LoopLag
from .outbox import Outbox
from .presence import Rosters, leave_all
from .publisher import Payload, Publisher, serialise
from .recordings import Recordings
from .registry import ClientRegistry, new_id
from .sharing import Sharing
from .sink import Heard, Sink, Source
from .statistics import Statistics
from .sweep import OsWriter, SweepWriter
from .threads import LoopFuture


# Slots: CPython makes each look at an attribute dearer for objects with more than 30 in a dict.
@dataclass(kw_only=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Node:
    """Publishes to channels and keeps their clients. All methods but `publish_threadsafe` belong to the loop's thread.

    Args:
        queue_messages: How many publications a client may be behind.
        queue_bytes: How many payload bytes a client may be behind.
        forgive_seconds: How old the oldest publication may be that a client has not got. None: unlimited.
        history_messages: How many publications a channel's log retains, at least.
        history_bytes: How many payload bytes a channel's log retains, at least.
        history_seconds: How long publications, and channels without clients, are kept.
        max_message_bytes: The largest payload, in bytes of UTF-8 where it is text.
        max_clients: How many clients there may be.
        max_channels: How many channels there may be; those without clients make room.
        address_filters: How many different filters the clients of one address may have on a channel.
        slice_bytes: About how much payload one write to a client carries.
        sweep_seconds: How long a sweep may hold the event loop before it gives it back.
        cohort_clients: How many clients a sweep writes to between two looks at the clock.
        close_seconds: How long a client may take over the closing handshake.
        overflow: The policy for a client that is further behind: "disconnect", "drop_oldest" or "latest".
        stall_seconds: How long a client's connection may take nothing while something waits for it.
        memory_bytes: The bound on logs and transports, about; None: unlimited. Above it history goes, then clients.
        ready_lag_seconds: How late the event loop may be before `ready` is false; `math.inf`: not measured.
        compress_from_bytes: The least payload that is compressed for clients with permessage-deflate; None: no payload.
        compress_level: 1 (fastest) to 3 (smallest).
        open_writer: Makes the writer of the sweeps, at each start.
        channels: {pattern: options of the channels whose names match}; the first match wins.
        hooks: Functions that are called for what becomes of clients; None: there are none.

    Attributes:
        draining: Whether new clients are refused, as the server is about to stop.
        inspect: Answers about the node.
        presence: Who is on a channel: `await node.presence(channel)`.
        recordings: The traces that are being recorded.
        expiries: When clients end whose users do.
        tally: The counters since the start.
    """

    queue_messages: int = 1024
    queue_bytes: int = 1_048_576
    forgive_seconds: float | None = None
    history_messages: int = 1000
    history_bytes: int = 4_194_304
    history_seconds: float = 300.0
    max_message_bytes: int = 65_536
    max_clients: int = 100_000
    max_channels: int = 100_000
    address_filters: int = ADDRESS_FILTERS
    slice_bytes: int = 262_144
    sweep_seconds: float = 0.003
    cohort_clients: int = 128
    close_seconds: float = 5.0
    overflow: str = "disconnect"
    stall_seconds: float = 10.0
    memory_bytes: int | None = 1_073_741_824
    ready_lag_seconds: float = 1.0
    compress_from_bytes: int | None = None
    compress_level: int = 1
    open_writer: Callable[[], SweepWriter] = OsWriter
    channels: Mapping[str, ChannelOptions] = field(default_factory=dict)
    hooks: Hooks | None = None

    shares = False  # whether channels are shared with other servers: opening one, and publishing, have to be awaited
    _new_id = staticmethod(new_id)
    draining: bool = field(init=False)
    inspect: Inspector = field(init=False)
    presence: Rosters = field(init=False)
    recordings: Recordings = field(init=False)
    expiries: Expiries = field(init=False)
    tally: Counters = field(init=False)
    _starts: int = field(init=False)
    _audit_task: asyncio.Task[None] | None = field(init=False)
    _host: ClientHost | None = field(init=False)
    _hub: Hub = field(init=False)
    _deflater: Deflater = field(init=False)
    _publisher: Publisher = field(init=False)
    _event_log: EventLog = field(init=False)
    _registry: ClientRegistry = field(init=False)
    _audit: Audit = field(init=False)
    _loop_lag: LoopLag = field(init=False)

    def __post_init__(self) -> None:
        """Composes the node. Raises ValueError for bounds that make no sense, or do not fit into `memory_bytes`."""
        self.draining, self._starts, self._audit_task, self._host = False, 0, None, None
        taken: dict[str, Any] = {name: getattr(self, name) for name in BOUNDS}
        self._hub = hub = Hub(**taken, overflow=Overflow(self.overflow))
        hub.namespaces.check(memory_bytes=self.memory_bytes, max_message_bytes=self.max_message_bytes)
        self._deflater = Deflater(hub.tally, from_bytes=self.compress_from_bytes, level=self.compress_level)
        paces = ("max_message_bytes", "slice_bytes", "sweep_seconds", "open_writer")
        self._publisher = Publisher(hub, **{name: getattr(self, name) for name in paces})
        events = self._event_log = EventLog(memory_bytes=self.memory_bytes, late_seconds=self.ready_lag_seconds)
        presence = self.presence = Rosters(hub, self.client_failed)
        told: dict[str, Any] = {"on_closed": events.closed, "hooks": self.hooks and HookRunner(self.hooks)}
        registry = self._registry = ClientRegistry(leave=partial(leave_all, hub, presence), tally=hub.tally, **told)
        presence.identified, self.expiries, self.tally = registry.identify, registry.expiries, hub.tally
        ended, stall = self._publisher.audit_ended, self.stall_seconds
        self._audit = Audit(hub, registry, events, stall_seconds=stall, memory_bytes=self.memory_bytes, ended=ended)
        self._loop_lag = LoopLag(hub.tally.loop_lag, on_look=events.looked)
        self.inspect = Inspector(hub, registry, self._loop_lag, limits=partial(limits_of, self))
        self.recordings = Recordings(registry, self._publisher, self._audit, settings=self.inspect.limits)

    async def __aenter__(self) -> Self:
        """Starts on the running event loop. May be entered more than once: the last exit stops it."""
        self._starts += 1
        if self._starts == 1:
            loop = asyncio.get_running_loop()
            self._publisher.open(loop)
            times = {"turn_seconds": self.sweep_seconds, "pause_seconds": max(self.history_seconds, self.stall_seconds)}
            shared: dict[str, Any] = {"hub": self._hub, "publisher": self._publisher, **times}
            self._host = ClientHost(loop, self._registry, self._event_log, **shared)
            self.recordings.open(self._host)
            if self.ready_lag_seconds < float("inf"):
                self._loop_lag.start(loop)
            self._audit_task = asyncio.create_task(self._audit.run(), name="fanwise audit")
            self._audit_task.add_done_callback(self._event_log.audit_ended)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Closes the clients that are left, and stops."""
        self._starts -= 1
        if self._starts:
            return
        assert self._host is not None and self._audit_task is not None  # noqa: PT018 - both come with the loop
        self._audit_task.cancel()
        self._loop_lag.stop()
        self.recordings.shut()
        await self._host.close_all(self._audit_task, timeout=self.close_seconds)
        self._audit_task = None
        self.presence.stop()
        self._publisher.shut()

    def __len__(self) -> int:
        return len(self._registry)

    def __bool__(self) -> bool:
        return True  # also without clients

    @property
    def writer(self) -> SweepWriter:
        """The writer of the sweeps. Raises NotRunningError outside of the node's context."""
        if self._publisher.writer is None:
            raise NotRunningError
        return self._publisher.writer

    async def drain(self, *, seconds: float) -> None:
        """Refuses new clients, and closes the present ones with SHUTDOWN, spread over `seconds`.

        A client that is behind is closed when it has caught up, or when the time is up. Clients that stay are aborted.
        """
        self.draining = True
        await drain(list(self._registry), seconds=seconds)

    def publish_nowait(
        self, channel: str, payload: Payload, key: str | None = None, tags: Tags | None = None, exclude: Whom = None
    ) -> Publication:
        """Appends to the channel's log and schedules its sweep. O(1), whatever the number of clients.

        Text goes out as text, bytes as a binary message, and everything else as JSON. `key` names the state that the
        payload is the newest of, for queues that keep only the newest of each key. `tags` say what it is about, for
        filters. `exclude` is a client that does not get it, or its id. Synchronous code that publishes much keeps the
        clients waiting: when a queue's worth has piled up, this call itself writes to the sockets.

        Raises ChannelLimitError, ChannelNameError, MessageTooBigError, NotRunningError, PayloadError or TagError, and
        ThreadError outside of the thread of the broadcaster's event loop: nothing was published.
        """
        kind, data = serialise(payload)
        publication = self._publisher.append_nowait(channel, kind, data, key, tags)
        if exclude is not None:
            self.exclude(exclude, publication)
        return publication

    async def publish(
        self, channel: str, payload: Payload, *, key: str | None = None, tags: Tags | None = None, exclude: Whom = None
    ) -> Publication:
        """Publishes like `publish_nowait`, at the pace of the sweeps: a slice's worth, and it waits for the next one.

        Never waits for one client. Waits for most of them: at most a second each time, while the channel is half a
        queue ahead of more than half of its clients; and a quarter of a second at most, for the next audit, after a
        burst that may be more than reading clients can be given. Raises what `publish_nowait` raises.
        """
        whom = None if exclude is None else id_of(exclude)
        kind, data = serialise(payload)
        return await self._publisher.append(channel, kind, data, key=key, tags=tags, exclude=whom)

    def exclude(self, client: Client | str, publication: Publication) -> None:
        """Has a client not get a publication that was appended in this turn of the loop, and last to its channel."""
        self._publisher.exclude(id_of(client), publication.channel, publication.position)

    def append(self, channel: str, kind: Kind, data: bytes, **about: Any) -> Coroutine[Any, Any, Publication]:
        """Publishes `data` as it is, at the pace of the sweeps: `Publisher.append`."""
        return self._publisher.append(channel, kind, data, **about)

    def append_in_turn(
        self, channel: str, kind: Kind, data: bytes, key: str | None = None, tags: Tags | None = None
    ) -> tuple[Publication | None, Coroutine[Any, Any, None] | None]:
        """Publishes like `append`, as far as that can be done at once: `Publisher.append_in_turn`."""
        return self._publisher.append_in_turn(channel, kind, data, key, tags)

    def append_at_once(self, channel: str, kind: Kind, data: Sequence[bytes]) -> bool:
        """Publishes all or nothing, as far as no producer has to wait: `Publisher.append_at_once`."""
        return self._publisher.append_at_once(channel, kind, data)

    def publish_threadsafe(
        self, channel: str, payload: Payload, *, key: str | None = None, tags: Tags | None = None, exclude: Whom = None
    ) -> concurrent.futures.Future[Publication]:
        """Publishes from another thread. Only waiting for the future, now and then, slows a producer down.

        Raises NotRunningError before the start. The future's `result()` raises all else, and ThreadError in the loop's.
        """
        work = partial(self.publish, channel, payload, key=key, tags=tags, exclude=exclude)
        return LoopFuture(self._publisher.running_loop(), self._publisher.thread, work)

    def check_room(self) -> asyncio.AbstractEventLoop:
        """Returns the loop that the next client will live on. Raises DrainingError, FullError or NotRunningError."""
        loop = self._publisher.running_loop()
        if self.draining:
            raise DrainingError
        if len(self._registry.clients) >= self.max_clients:
            raise FullError(limit_clients=self.max_clients)
        return loop

    def client(self, sink: Sink, listen: Callable[[], Source], **about: Any) -> AbstractAsyncContextManager[Client]:
        """A client for as long as the context lasts. Takes and raises what `add_client` does."""
        return lasting(partial(self.add_client, sink, listen, **about), self.close_seconds)

    def add_client(
        self,
        sink: Sink,
        listen: Callable[[], Source] | None = None,
        channel: str | None = None,
        since: Since = None,
        address: str = "",
        dialect: Dialect = PLAIN,
        user: User | None = None,
        filter: Filter | None = None,
    ) -> Client:
        """A client that stays until its sink has ended. Raises what `check_room` and `subscribe` do."""
        self.check_room()
        assert self._host is not None  # it comes with the loop
        outbox = Outbox(sink, self._deflater.dialect(dialect, agreed=getattr(sink, "deflates", False)))
        client = Client(self._new_id(), address, outbox, listen, self.close_seconds, self._host, user)
        if channel is not None:
            self.subscribe(client, channel, since=since, filter=filter)
        self._registry.add(client)
        sink.attach(client)
        client.start()
        if client.source is not None and (heard := self.listener(client)) is not None:
            client.source.listen(heard)
        return client

    async def send_to(self, user: User | str, payload: Payload) -> int:
        """Sends a payload to all clients of a user, as `Client.send` does; returns to how many. O(them), in turns."""
        if self._host is None:
            raise NotRunningError
        return await self._host.direct.send_to(user, payload)

    def listener(self, client: Client) -> Heard | None:
        """Returns what is to hear of the messages of `client` as they come; None: nothing is."""
        return None if self._registry.hooks is None else self._registry.hooks.listener(client)

    def client_failed(self, client: Client, error: Exception) -> None:
        """Hears that working on a message of `client` has raised `error`: closes the client, and counts or logs it."""
        fail(client, error, self._event_log, reject=self.tally.reject)

    def subscribe(
        self, client: Client, channel: str, *, since: Since = None, last: int | None = None, filter: Wanted = None
    ) -> Start:
        """Puts `client` on `channel`, and sends where its stream begins. O(its channels).

        Begins after `since`, or with the `last` publications, by default at the head. With a `filter`, {tag: value or
        values}, the client gets only publications with these tags. Synchronous: no publication comes between taking the
        cursor and joining, so none is lost and none comes twice.

        Raises:
            AlreadySubscribedError: The client is on that channel.
            BeginningError: Both `since` and `last` are given, or `last` is no number from 0 on.
            ChannelLimitError, ChannelNameError: There is no room for another channel, or its name is not allowed.
            FilterLimitError, TagError: The channel's clients have too many other filters, or this is none.
            GoneError, NotRunningError: The client is closed, or the broadcaster was not started.
        """
        now = self._publisher.running_loop().time()
        client.check_new(channel)
        since, filter = beginning(since, last, filter)
        if filter is None:
            start = self._hub.subscribe(channel, since, time=now)
        else:
            start = self._hub.subscribe(channel, since, filter, time=now, owner=owner_of(client.address))
        before = self._registry.dropped.resumed(client, start, since) if isinstance(since, Position) else ""
        if self.recordings.active:
            self.recordings.subscribed(client, start, before)
        client.begin(start)
        if client.user is not None:
            self.presence.join(client, channel)
        if self._registry.hooks is not None:
            self._registry.hooks.subscribed(client, channel)
        return start

    @property
    def sharing(self) -> Sharing:
        """The way to other servers. Raises NotRunningError: there are none, or the node was not started."""
        raise NotRunningError

    async def subscribe_in_turn(
        self, client: Client, channel: str, *, since: Since = None, last: int | None = None, filter: Wanted = None
    ) -> Start:
        """Subscribes in the client's turn: a thousand who come back at once do not delay those who are here."""
        self._publisher.running_loop()
        assert self._host is not None  # it comes with the loop
        begin: dict[str, Any] = {"since": since, "last": last, "filter": filter}
        return await self._host.turns.in_turn(partial(self.subscribe, client, channel, **begin))

    def unsubscribe(self, client: Client, channel: str) -> None:
        """Takes `client` off `channel`: nothing of the channel is sent any more. O(its channels).

        Raises:
            KeyError: The client is not on that channel.
        """
        now = self._publisher.running_loop().time()
        place, queue = client.unsubscribe(channel)
        if self.recordings.active:
            self.recordings.unsubscribed(client, place)
        self._hub.unsubscribe(place, queue, time=now)
        if self.presence.rosters:
            self.presence.leave(client, channel)

    def statistics(self) -> Statistics:
        """Returns clients, channels and counts. O(clients + channels)."""
        return self.inspect.statistics()

    def count_answer_bytes(self, size_bytes: int) -> None:
        """Counts memory of HTTP answers against `memory_bytes`; a negative number was let go."""
        self._audit.answer_bytes += size_bytes

    def close_client(self, client_id: str) -> bool:
        """Closes the client with that id as the operator wants it; False if there is none."""
        if (client := self._registry.find(client_id)) is not None:
            client.close(CloseReason.OPERATOR)
        return client is not None

    @property
    def ready(self) -> bool:
        """Whether new clients are taken in and looked after, and in time."""
        return not self.unready

    @property
    def unready(self) -> str:
        """Why the node is not ready: draining, stopped (or the audit is), loop_lag (for some seconds). Empty: it is."""
        audited = self._audit_task is not None and not self._audit_task.done()
        late = self._loop_lag.worst_seconds > self.ready_lag_seconds
        return "draining" if self.draining else "stopped" if not audited else "loop_lag" if late else ""

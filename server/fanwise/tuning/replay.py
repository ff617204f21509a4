"""A replay: a scene through the real hub, sweeps, clients and audits, on a virtual clock, with simulated sockets.

Only sockets, readers and time are simulated. Logs, queues, ready groups, turns, overflow policies and the audit's
verdict are those of the server: `broadcaster` and `core` as they are. Nothing takes time but reading.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from typing import Any, Final, cast

from ..broadcaster.audit import AUDIT_SECONDS, Audit
from ..broadcaster.client import Client
from ..broadcaster.event_log import EventLog
from ..broadcaster.outbox import Outbox
from ..broadcaster.registry import ClientRegistry
from ..broadcaster.sweep import Sweeper
from ..broadcaster.turns import TurnScheduler
from ..core.channel import Channel
from ..core.dialect import Dialect
from ..core.group import Member
from ..core.hub import Hub
from ..core.publication import Kind, Position, Publication
from ..core.queue import Batch, Overflow, Queue
from ..core.reasons import CloseReason
from .clockwork import VirtualLoop, finish
from .outcome import Candidate, Drop, Outcome
from .pings import Pings
from .scene import DIALECTS, Reader, Scene, Sent, Supply
from .virtual_socket import VirtualSocket

COHORT_CLIENTS: Final = 128
_TOGETHER_SECONDS = 0.002  # publications of so short a time are swept together, as a server's turn does
PAYLOAD_BYTES: Final = 1 << 26
_FAST = Supply([(0.0, 1e12)])


class NotedOutbox(Outbox):
    """An outbox that notes where in the stream each publication ends."""

    __slots__ = ("socket",)

    def __init__(self, socket: VirtualSocket, dialect: Dialect) -> None:
        super().__init__(socket, dialect)
        self.socket = socket

    def write(self, channel: Channel, batch: Batch) -> None:
        """Gives a batch to the sink."""
        end = 0
        for part in self._parts(batch):
            end += len(self._wire(channel, part))
            if isinstance(part, Publication):
                self.socket.note(part, end=end)
        super().write(channel, batch)


class Payloads:
    """Payloads by size: publications of equal size share one. Owns the bound on what is kept beside the logs.

    Args:
        most_bytes: Of all that are kept; one that is larger is kept alone.
    """

    __slots__ = ("_kept", "_most_bytes", "size_bytes")

    def __init__(self, most_bytes: int = PAYLOAD_BYTES) -> None:
        self._kept: dict[int, bytes] = {}
        self._most_bytes = most_bytes
        self.size_bytes = 0

    def of(self, size: int) -> bytes:
        """Returns a payload of `size` bytes."""
        payload = self._kept.get(size)
        if payload is None:
            self.size_bytes += size
            if self.size_bytes > self._most_bytes:
                self._kept.clear()
                self.size_bytes = size
            payload = self._kept[size] = b"x" * size
        return payload


class Visit:
    """One connection of a reader, from its arrival to its end."""

    __slots__ = ("client", "reader", "socket")

    def __init__(self, reader: Reader, socket: VirtualSocket, client: Client) -> None:
        self.reader = reader
        self.socket = socket
        self.client = client


class Replay:
    """One replay of a scene with one choice of settings. A `ClientOwner` to its clients.

    Args:
        scene: What is published, and to whom.
        candidate: The settings.
        seed: Of the times that clients stay away, and of the audits' phase.
    """

    def __init__(self, scene: Scene, candidate: Candidate, *, seed: int = 1) -> None:
        self._scene = scene
        self._candidate = candidate
        self._chance = random.Random(seed)  # noqa: S311 - a replay is to repeat
        self._loop = loop = VirtualLoop(begins=scene.begins - 2 * AUDIT_SECONDS)
        self._dialect = DIALECTS[scene.dialect]
        self._slice_bytes = min(candidate.slice_bytes, candidate.queue_bytes)
        self._hub = _make_hub(candidate)
        self._registry = ClientRegistry(leave=self._leave, tally=self._hub.tally)
        self._audit = Audit(
            self._hub,
            self._registry,
            EventLog(memory_bytes=None, late_seconds=math.inf, clock=loop.time),
            stall_seconds=candidate.stall_seconds,
            memory_bytes=candidate.memory_bytes,
            turn_seconds=math.inf,
            clock=loop.time,
        )
        self._sweeper = Sweeper(
            loop.as_loop(),
            slice_bytes=self._slice_bytes,
            sweep_seconds=math.inf,
            write_to_all=self._write_to_all,
            tally=self._hub.tally,
            clock=loop.time,
        )
        self._turns = TurnScheduler(loop.as_loop(), turn_seconds=math.inf, clock=loop.time)
        self._visits: dict[int, Visit] = {}  # {descriptor: who is connected}
        self._by_client: dict[Client, Visit] = {}
        self._descriptors = 0
        self._pings, self._payloads = Pings(candidate, loop), Payloads()
        self.pause_seconds = max(candidate.history_seconds, candidate.stall_seconds)
        self._outcome = Outcome(
            candidate=candidate,
            seconds=scene.seconds,
            clients=scene.clients,
            readers=len(scene.readers),
            publications=len(scene.publications),
        )

    def run(self) -> Outcome:
        """Plays the scene to its end."""
        loop, scene = self._loop, self._scene
        if scene.fast_clients:
            self._connect(_follower(scene), {})
        for reader in scene.readers:
            loop.call_at(reader.begins, lambda reader=reader: self._connect(reader, {}))  # type: ignore[misc]
        loop.call_at(loop.time() + self._chance.uniform(0, AUDIT_SECONDS), self._look)
        for batch in _together(scene.publications):
            loop.run_until(batch[-1].time)
            for sent in batch:
                self._publish(sent)
            loop.settle()
        loop.run_until(scene.ends)
        dropped, outcome = self._hub.tally.dropped, self._outcome
        outcome.skipped, outcome.missed = dropped["gap_slow"], dropped["gap_history"]
        return outcome

    # What happens.

    def _publish(self, sent: Sent) -> None:
        payload, hub = self._payloads.of(sent.size), self._hub
        channel = hub.channel(sent.channel, time=sent.time)
        hub.publish(channel, payload, kind=Kind.TEXT, time=sent.time, key=sent.key)
        if channel.queues:
            self._sweeper.schedule(channel)
            if channel.crowded(messages=(hub.queue_messages + 1) // 2, size_bytes=self._slice_bytes):
                self._loop.settle()  # where a publisher waits for the sweep

    def _look(self) -> None:
        """One audit, and what memory it finds."""
        outcome, channels = self._outcome, list(self._hub)
        logs = sum(channel.cost_bytes for channel in channels)
        buffered = sum(visit.socket.buffered_bytes for visit in self._visits.values())
        outcome.log_bytes = max(outcome.log_bytes, logs)
        outcome.buffered_bytes = max(outcome.buffered_bytes, buffered)
        outcome.memory_bytes = max(outcome.memory_bytes, logs + buffered)
        outcome.widest_lag = max([outcome.widest_lag, *(client.lag for client in self._registry.behind)])
        finish(self._audit.once())
        outcome.audits += 1
        outcome.outrun += 2 * len(self._registry.behind) > self._scene.clients
        self._loop.call_at(self._loop.time() + AUDIT_SECONDS, self._look)

    def _connect(self, reader: Reader, positions: Mapping[str, Position]) -> None:
        """A reader comes, and goes on behind its positions."""
        now = self._loop.time()
        self._descriptors += 1
        socket = VirtualSocket(self._descriptors, reader, self._loop, got=self._got if reader.name else _ignore)
        client = Client(
            f"{reader.name}/{self._descriptors}",
            address=reader.name,
            outbox=NotedOutbox(socket, self._dialect),
            listen=None,
            close_seconds=self._candidate.close_seconds,
            owner=self,
        )
        visit = self._visits[self._descriptors] = self._by_client[client] = Visit(reader, socket, client)
        for name in reader.channels:
            start = self._hub.subscribe(name, since=positions.get(name), time=now)
            client.begin(start)
            socket.positions[name] = start.position.offset
            self._outcome.returns += name in positions
            self._outcome.recovered += bool(start.recovered)
        self._registry.add(client)
        socket.attach(client)
        client.start()
        if reader.name:
            self._pings.begin(client, socket)
        if reader.ends is not None:
            self._loop.call_at(reader.ends, lambda: self._go(visit))

    def _go(self, visit: Visit) -> None:
        """A reader leaves by itself."""
        if visit.client in self._by_client:
            visit.client.abort(CloseReason.NORMAL)

    # `ClientOwner`.

    def enlist(self, step: Callable[[], bool]) -> None:
        """Has the step called in its turn."""
        self._turns.enlist(step)

    def start_task(self, client: Client, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """The client is closing: its close frame stands behind all that was written. Starts no task."""
        work.close()
        visit = self._by_client[client]
        visit.socket.no_longer_heard()
        now = self._loop.time()
        read_at = visit.socket.empty_at()
        patience = min(self._candidate.close_seconds, self._candidate.stall_seconds)
        self._loop.call_at(min(read_at, now + patience), lambda: self._closed(visit))
        return cast("asyncio.Task[None]", None)

    def changed(self, client: Client) -> None:
        """Has the registry hear of it."""
        if client.reason is not None and client in self._by_client and self._registry.find(client.id) is client:
            self._note_end(client)
        self._registry.changed(client)

    def receiving(self, client: Client, *, held: bool) -> None:
        """Is not called: nothing is received."""

    def ponged(self, rtt_seconds: float) -> None:
        """Is not called: pongs are looked for, and not received."""

    def send(self, client: Client, payload: object) -> None:
        """Raises AssertionError: in a replay there is no application."""
        raise AssertionError(f"{payload!r:.80} cannot be sent to {client}")

    def failed(self, client: Client, error: Exception) -> None:
        """Ends the replay: serving a client has failed."""
        raise RuntimeError(f"serving {client} has failed") from error

    # The end of a client.

    def _note_end(self, client: Client) -> None:
        """Keeps when and why a client has ended; an aborted one has nothing to wait for."""
        visit, now = self._by_client[client], self._loop.time()
        oldest = [
            channel.log.time_at(queue.cursor + 1)
            for channel, queue in client.subscriptions.values()
            if queue.cursor < channel.log.head
        ]
        reason = client.reason or CloseReason.NORMAL
        if reason is not CloseReason.NORMAL:
            self._outcome.drops.append(Drop(now, visit.reader.name, reason, client.lag, now - min(oldest, default=now)))
        if visit.socket.aborted:
            self._loop.call_soon(self._closed, visit)

    def _closed(self, visit: Visit) -> None:
        """The connection is gone; the reader notices when it reads again, and may come back."""
        if self._by_client.pop(visit.client, None) is None:
            return
        visit.socket.abort()
        self._visits.pop(cast("int", visit.socket.lease.descriptor))
        reader = visit.reader
        if reader.away_seconds is not None and visit.client.reason is not CloseReason.NORMAL:
            noticed = max(reader.supply.reads_after(self._loop.time()), visit.socket.empty_at())
            self._loop.call_at(noticed, lambda: self._noticed(visit))

    def _noticed(self, visit: Visit) -> None:
        reader = visit.reader
        assert reader.away_seconds is not None
        visit.socket.read()
        back = self._loop.time() + self._chance.uniform(*reader.away_seconds)
        positions = {
            name: Position(channel.log.epoch, visit.socket.positions[name])
            for name in reader.channels
            if (channel := self._hub.find(name)) is not None
        }
        if reader.ends is None or back < reader.ends:
            self._loop.call_at(back, lambda: self._connect(reader, positions))

    def _leave(self, client: Client) -> None:
        for channel, queue in client.subscriptions.values():
            self._hub.unsubscribe(channel, queue, time=self._loop.time())
        client.subscriptions.clear()

    @property
    def detours(self) -> Mapping[Any, None]:
        """No channel of a replay has a successor, and nobody is excluded."""
        return self._hub.detours

    def detour(self, client: Client, max_bytes: int) -> None:
        """Returns None: there is nothing more to take."""

    # Sockets.

    def _write_to_all(self, fds: Collection[int], data: bytes) -> list[tuple[int, int]]:
        """Gives a slice to a cohort's sockets: `WriteToAll`, which is given the cohort's own table."""
        size, short, parts = len(data), [], None
        table = cast("Mapping[int, tuple[Queue, Member]]", fds)
        for fd in fds:
            if parts is None:
                queue, _ = table[fd]
                parts = self._parts(queue, size)
            socket = self._visits[fd].socket
            fits = socket.would_take(size)
            end = 0
            for publication, length in parts:
                if end >= fits:
                    break
                end += length
                socket.note(publication, end=end)
            socket.take(fits)
            if fits != size:
                short.append((fd, fits))
        return short

    def _parts(self, queue: Queue, size: int) -> list[tuple[Publication, int]]:
        """Returns the publications of a slice of `size` bytes that ends at the queue's cursor, with their lengths."""
        encode, log, offset = self._dialect.encode, queue.log, queue.cursor
        parts: list[tuple[Publication, int]] = []
        while size > 0:
            publication = log.read(offset - 1, max_bytes=1, until=offset)[0]
            parts.append((publication, len(publication.encoded(encode))))
            size -= parts[-1][1]
            offset -= 1
        return parts[::-1]

    def _got(self, when: float, published: float) -> None:
        self._outcome.ages.append(when - published)


def _ignore(_when: float, _published: float) -> None:
    """Takes the ages of clients that always follow: nobody asks for them."""


def _make_hub(candidate: Candidate) -> Hub:
    return Hub(
        queue_messages=candidate.queue_messages,
        queue_bytes=candidate.queue_bytes,
        history_messages=candidate.history_messages,
        history_bytes=candidate.history_bytes,
        history_seconds=candidate.history_seconds,
        cohort_clients=COHORT_CLIENTS,
        overflow=Overflow(candidate.overflow),
        forgive_seconds=candidate.forgive_seconds,
    )


def _follower(scene: Scene) -> Reader:
    """Returns the reader that stands for all that always follow: it is on every channel."""
    channels = {name for reader in scene.readers for name in reader.channels}
    return Reader(name="", channels=tuple(sorted(channels)), supply=_FAST, room_bytes=math.inf)


def _together(publications: list[Sent]) -> Iterator[list[Sent]]:
    """Yields publications that a server's turn would sweep together."""
    batch: list[Sent] = []
    for sent in publications:
        if batch and sent.time - batch[0].time > _TOGETHER_SECONDS:
            yield batch
            batch = []
        batch.append(sent)
    if batch:
        yield batch

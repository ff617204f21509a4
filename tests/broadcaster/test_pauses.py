"""The rule of pauses, predicted and seen: the real hub, client and audit on a virtual clock, and a model of kernels."""

from __future__ import annotations

import asyncio
import math
from typing import NamedTuple

import pytest

from fanwise.broadcaster.audit import AUDIT_SECONDS, Audit
from fanwise.broadcaster.client import Client
from fanwise.broadcaster.event_log import EventLog
from fanwise.broadcaster.outbox import Outbox
from fanwise.broadcaster.registry import ClientRegistry
from fanwise.broadcaster.sweep import Sweeper
from fanwise.core.dialect import PLAIN
from fanwise.core.forgiven import Bound, Bounds, Forgiven, forgiven
from fanwise.core.hub import Hub
from fanwise.core.publication import Kind
from fanwise.core.queue import Overflow

from ..support.fakes import AskedFakeSink
from .test_client import make_host

pytestmark = pytest.mark.anyio

ROOM_BYTES = 146_000  # what the sink takes of a client that does not read
READS_SECONDS = 1.0  # before the pause, and after it
HISTORY_SECONDS = 60.0


class KernelSink(AskedFakeSink):
    """A socket whose kernels take everything while the peer reads, and then as much as they have room for."""

    def __init__(self) -> None:
        super().__init__()
        self.room: float = math.inf

    def write(self, data: bytes | memoryview) -> None:
        rest = len(data) - self.room
        self.room = max(-rest, 0)
        if rest > 0:
            self.pause(buffered_bytes=int(rest) + self.buffered_bytes)

    def read(self) -> None:
        self.room = math.inf
        if not self.writable:
            self.resume()


class Settings(NamedTuple):
    messages: int = 1024
    size_bytes: int = 1_048_576
    forgive_seconds: float = math.inf
    stall_seconds: float = 10.0
    overflow: Overflow = Overflow.DISCONNECT

    @property
    def bounds(self) -> Bounds:
        stall_seconds = self.stall_seconds if self.overflow is Overflow.DISCONNECT else math.inf
        return Bounds(self.messages, self.size_bytes, self.forgive_seconds, stall_seconds)


class World:
    """A channel with a client, and a publisher with a steady rate."""

    def __init__(self, settings: Settings, *, size: int, rate: float) -> None:
        self.hub = Hub(
            queue_messages=settings.messages,
            queue_bytes=settings.size_bytes,
            forgive_seconds=None if settings.forgive_seconds == math.inf else settings.forgive_seconds,
            history_messages=1000,
            history_bytes=4_194_304,
            history_seconds=HISTORY_SECONDS,
            cohort_clients=4,
            overflow=settings.overflow,
        )
        loop = asyncio.get_running_loop()
        self.now, self.size, self.rate = 0.0, size, rate
        self.registry = ClientRegistry(leave=lambda _client: None, tally=self.hub.tally)
        host = make_host(loop, self.hub)
        host.changed = self.registry.changed
        self.sink = KernelSink()
        self.client = Client(
            "1", address="", outbox=Outbox(self.sink, PLAIN), listen=None, close_seconds=1.0, owner=host
        )
        self.channel = self.hub.channel("a", time=0.0)
        self.client.begin(self.hub.subscribe("a", time=0.0))
        self.registry.add(self.client)
        self.sink.attach(self.client)
        self.client._join()
        self.sweeper = Sweeper(loop, slice_bytes=262_144, sweep_seconds=1.0)
        self.audit = Audit(
            self.hub,
            self.registry,
            EventLog(memory_bytes=None, late_seconds=1.0),
            stall_seconds=settings.stall_seconds,
            clock=lambda: self.now,
        )

    async def until(self, end: float) -> None:
        """Publishes and audits until `end`, or until the client is gone."""
        while self.now < end and self.client.reason is None:
            tick = self.now + AUDIT_SECONDS
            for step in range(math.ceil(self.now * self.rate), math.ceil(tick * self.rate)):
                data = b"x" * self.size
                self.hub.publish(self.channel, data, kind=Kind.TEXT, time=step / self.rate)
                self.sweeper.flush(self.channel)
            self.now = tick
            await self.audit.once()

    async def pause(self, seconds: float) -> str:
        """Lets the client pause; returns what becomes of it."""
        await self.until(READS_SECONDS)
        self.sink.room = ROOM_BYTES
        await self.until(READS_SECONDS + seconds)
        self.sink.read()
        while self.client._take_turn():
            pass
        await self.until(READS_SECONDS + seconds + READS_SECONDS)
        if self.client.reason is not None:
            return self.client.reason.name.lower()
        return "skipped" if self.hub.tally.dropped["gap_slow"] else "forgiven"


def predicted(settings: Settings, pause: float, found: Forgiven) -> str:
    """What the rule says of a pause; its verdict takes two audits."""
    if pause <= found.seconds:
        return "forgiven"
    assert pause > found.seconds + 2 * AUDIT_SECONDS, "no cell of the table is a matter of luck"
    if settings.overflow is not Overflow.DISCONNECT:
        return "skipped"
    return "stalled" if found.bound is Bound.STALL else "slow"


USUAL = Settings()
NARROW = Settings(messages=200, size_bytes=200_000)
PATIENT = Settings(messages=6000, size_bytes=8_000_000, stall_seconds=60.0)
TIMED = Settings(messages=6000, size_bytes=8_000_000, stall_seconds=60.0, forgive_seconds=5.0)
OLDEST = Settings(overflow=Overflow.DROP_OLDEST)
FRESH = Settings(overflow=Overflow.LATEST, forgive_seconds=12.0)

# (payload bytes, publications per second, settings, (pauses that are forgiven), (and others))
ROWS = [
    (500, 100, USUAL, (4, 12.5), (13.5, 20)),
    (4_000, 100, USUAL, (1, 2.75), (3.75, 20)),
    (100, 300, USUAL, (3, 8), (9, 20)),
    (100, 300, NARROW, (5.25,), (6.25, 12)),
    (4_000, 20, NARROW, (4.25,), (5, 15)),
    (500, 100, PATIENT, (20, 45), ()),
    (8_000, 40, PATIENT, (20, 25), (26.5,)),
    (500, 100, TIMED, (7.75,), (8.5, 30)),
    (8_000, 40, TIMED, (5.25,), (6.25,)),
    (500, 100, OLDEST, (12.75,), (14, 30)),
    (500, 20, OLDEST, (40,), ()),
    (500, 20, FRESH, (26,), (27.5, 40)),
]
CELLS = [
    pytest.param(settings, size, rate, pause, outcome, id=f"{size}-{rate}-{pause}-{outcome}-{index}")
    for index, (size, rate, settings, forgiven_pauses, others) in enumerate(ROWS)
    for outcome, pauses in (("forgiven", forgiven_pauses), ("other", others))
    for pause in pauses
]


def test_the_table_has_thirty_cells() -> None:
    """Payloads by rates by settings by pauses."""
    assert len(CELLS) >= 30


@pytest.mark.parametrize(("settings", "size", "rate", "pause", "outcome"), CELLS)
async def test_what_is_predicted_is_seen(
    settings: Settings, size: int, rate: float, pause: float, outcome: str
) -> None:
    """A pause ends as `core.forgiven` says: with everything, with a gap, or with a close and its reason."""
    rule = forgiven(settings.bounds, messages_per_second=rate, message_bytes=size, room_bytes=ROOM_BYTES)
    said = predicted(settings, pause, rule)
    assert (said == "forgiven") == (outcome == "forgiven"), rule
    assert await World(settings, size=size, rate=rate).pause(pause) == said, rule


async def test_a_pause_beyond_the_history_ends() -> None:
    """Also where queues skip, and whatever the peer's kernel answers."""
    world = World(OLDEST, size=5_000, rate=10)
    assert await world.pause(HISTORY_SECONDS) == "skipped"
    world = World(OLDEST, size=5_000, rate=10)
    assert await world.pause(HISTORY_SECONDS + 10) == "stalled"

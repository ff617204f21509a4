from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from fanwise.broadcaster.audit import AUDIT_SECONDS, Audit
from fanwise.broadcaster.client import Client
from fanwise.broadcaster.event_log import EventLog
from fanwise.broadcaster.registry import ClientRegistry
from fanwise.core.hub import Hub
from fanwise.core.queue import Overflow
from fanwise.core.reasons import CloseReason

from ..core.test_hub import publish
from ..support.fakes import AskedFakeSink, FakeSink
from ..support.live import until
from .test_client import Scene
from .test_registry import make_registry, seen

pytestmark = pytest.mark.anyio


class Audits:
    """Audits at the usual pace, from second 0 on."""

    def __init__(self, registry: ClientRegistry, setting: Scene, *, memory_bytes: int | None = None) -> None:
        self.now = 0.0
        self.ended = 0
        self.audit = Audit(
            setting.hub,
            registry,
            EventLog(memory_bytes=memory_bytes, late_seconds=1.0),
            stall_seconds=2.0,
            memory_bytes=memory_bytes,
            ended=self.end,
            clock=lambda: self.now,
        )

    def end(self) -> None:
        self.ended += 1

    async def run(self, count: int = 1, *, every_seconds: float = AUDIT_SECONDS) -> None:
        for _ in range(count):
            await self.audit.once()
            self.now += every_seconds

    async def at(self, now: float) -> None:
        self.now = now
        await self.audit.once()


async def test_it_goes_on_until_it_is_cancelled() -> None:
    """Each time logs are cut to their bounds and clients are judged, and it says so."""
    registry, setting, _ = make_registry()
    audits = Audits(registry, setting, memory_bytes=1 << 30)
    for _ in range(30):
        publish(setting.hub, setting.channels["a"])
    setting.client.close()
    task = asyncio.create_task(audits.audit.run())
    await until(lambda: audits.ended == 2)
    assert len(setting.channels["a"].log) == 20
    assert not task.done()
    task.cancel()


async def test_slow_is_who_is_over_its_bounds_from_one_audit_to_the_next() -> None:
    """A paused client within its bounds stays, one that is over them goes at the second look, and is told why."""
    registry, setting, left = make_registry()
    audits = Audits(registry, setting)
    setting.sink.pause()
    for _ in range(20):
        publish(setting.hub, setting.channels["a"])
    await audits.run(3)
    publish(setting.hub, setting.channels["a"])
    await audits.run()
    assert left == []
    await audits.run()
    assert left == [setting.client]
    assert setting.client.reason is CloseReason.SLOW


async def test_a_backlog_that_was_not_written_yet_is_not_the_clients_fault() -> None:
    """Only a client whose connection holds it up is slow."""
    registry, setting, left = make_registry()
    audits = Audits(registry, setting)
    setting.sink.pause()
    for _ in range(21):
        publish(setting.hub, setting.channels["a"])
    setting.sink.writable = True
    await audits.run(3)
    assert left == []
    setting.sink.writable = False
    await audits.run(2)
    assert setting.client.reason is CloseReason.SLOW


async def test_who_recovers_between_two_audits_is_not_slow() -> None:
    """However far behind it is whenever somebody looks: a burst is not its fault."""
    registry, setting, left = make_registry()
    audits = Audits(registry, setting)
    for _ in range(10):
        setting.sink.pause()
        for _ in range(30):
            publish(setting.hub, setting.channels["a"])
        await audits.run()
        setting.sink.resume()
        setting.sweeper.flush(setting.channels["a"])
        while not setting.client.subscriptions["a"].queue.empty():
            setting.client._take_turn()
    assert left == []


async def test_a_loop_that_was_late_drops_nobody() -> None:
    """When the loop stood still, nobody could be served: the judgement begins afresh."""
    registry, setting, left = make_registry()
    audits = Audits(registry, setting)
    setting.sink.pause()
    for _ in range(30):
        publish(setting.hub, setting.channels["a"])
    await audits.run(10, every_seconds=3 * AUDIT_SECONDS)
    assert left == []
    await audits.run()
    await audits.run()
    assert setting.client.reason is CloseReason.SLOW


async def test_stalled_is_who_takes_nothing() -> None:
    """For `stall_seconds`, whatever its queue says; then it is aborted."""
    registry, setting, left = make_registry()
    audits = Audits(registry, setting)
    setting.sink.pause(buffered_bytes=1000)
    await audits.run(8)
    assert left == []
    await audits.run(1)
    assert setting.sink.aborted
    assert setting.client.reason is CloseReason.STALLED


async def test_a_slow_one_that_moves_lives() -> None:
    """A byte now and then is progress; more that waits is none."""
    registry, setting, left = make_registry()
    audits = Audits(registry, setting)
    setting.sink.pause(buffered_bytes=1000)
    for _ in range(5):
        await audits.run(7)
        setting.sink.buffered_bytes -= 1
    assert left == []
    for _ in range(9):
        setting.sink.buffered_bytes += 100
        await audits.run()
    assert setting.client.reason is CloseReason.STALLED


async def test_other_policies_drop_publications_and_not_clients() -> None:
    """A client whose queue may overflow is not slow."""
    registry, setting, left = make_registry()
    audits = Audits(registry, setting)
    for _, queue in setting.client.subscriptions.values():
        queue.overflow = Overflow.DROP_OLDEST
    setting.sink.pause()
    for _ in range(30):
        publish(setting.hub, setting.channels["a"])
    await audits.run(5)
    assert left == []


def paused(sink: FakeSink, overflow: Overflow) -> tuple[Audits, Scene, list[Client]]:
    """A client whose connection takes nothing from now on."""
    registry, setting, left = make_registry(sink)
    for _, queue in setting.client.subscriptions.values():
        queue.overflow = overflow
    sink.pause()
    return Audits(registry, setting), setting, left


def forgive(hub: Hub, seconds: float) -> None:
    hub.namespaces.default.forgive_seconds, hub.namespaces.forgive = seconds, True


async def test_age_is_a_bound_like_the_others() -> None:
    """What a client has not got for `forgive_seconds` makes it slow at the second look, however little that is."""
    audits, setting, left = paused(FakeSink(), Overflow.DISCONNECT)
    forgive(setting.hub, 1.0)
    audits.audit.stall_seconds = 10.0
    await audits.run(4)
    publish(setting.hub, setting.channels["a"], time=audits.now)
    await audits.run(6)
    assert left == []
    await audits.run()
    assert (left, setting.client.reason) == ([setting.client], CloseReason.SLOW)


async def test_a_late_loop_makes_nothing_old() -> None:
    """What could not be given in time is given late, and not skipped."""
    audits, setting, _ = paused(FakeSink(), Overflow.DROP_OLDEST)
    forgive(setting.hub, 0.5)
    publish(setting.hub, setting.channels["a"])
    publish(setting.hub, setting.channels["a"])
    await audits.run()
    await audits.at(5.0)
    setting.channels["a"].mark_swept(2)
    setting.sink.resume()
    setting.client._take_turn()
    assert setting.hub.tally.dropped["gap_slow"] == 0


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.LATEST])
async def test_a_pause_is_forgiven_while_the_peer_s_kernel_answers(overflow: Overflow) -> None:
    """Beyond `stall_seconds`, where queues skip; the kernel is told once to ask often, and one lost packet is nothing.

    When everything that the client could miss is gone, it goes.
    """
    sink = AskedFakeSink()
    audits, setting, left = paused(sink, overflow)
    await audits.run(8)
    assert sink.asked_every == []
    for _ in range(20):
        sink.unanswered = 1
        await audits.run(10)
        sink.unanswered = 0
        await audits.run()
    assert (left, sink.asked_every) == ([], [0.5])
    history_seconds = setting.hub.retention.history_seconds
    await audits.run(round((history_seconds - audits.now) / AUDIT_SECONDS))
    assert left == []
    await audits.run()
    assert setting.client.reason is CloseReason.STALLED


@pytest.mark.parametrize("unanswered", [2, None])
async def test_a_peer_whose_kernel_is_silent_is_stalled(unanswered: int | None) -> None:
    """After `stall_seconds` of it; so is one of whose kernel nothing is known."""
    sink = AskedFakeSink()
    audits, setting, left = paused(sink, Overflow.LATEST)
    await audits.run(20 if unanswered else 0)
    sink.unanswered = unanswered
    await audits.run(7 if unanswered else 8)
    assert left == []
    await audits.run()
    assert setting.client.reason is CloseReason.STALLED


async def test_a_client_that_has_to_go_is_not_forgiven() -> None:
    """One queue that disconnects is enough, and so is none that skips."""
    sink = AskedFakeSink()
    audits, setting, _ = paused(sink, Overflow.LATEST)
    setting.client.subscriptions["b"].queue.overflow = Overflow.DISCONNECT
    await audits.run(9)
    assert setting.client.reason is CloseReason.STALLED
    audits, setting, _ = paused(AskedFakeSink(), Overflow.LATEST)
    setting.client.subscriptions.clear()
    await audits.run(9)
    assert setting.client.reason is CloseReason.STALLED


async def test_short_memory_takes_who_is_furthest_behind() -> None:
    """And nobody more than it takes."""
    registry, setting, _ = make_registry()
    audits = Audits(registry, setting, memory_bytes=1000 + setting.hub.retention.charged_bytes)
    other = Scene(FakeSink())
    other.host.changed = registry.changed
    other.client.id = "2"
    registry.add(other.client)
    setting.sink.pause(buffered_bytes=600)
    other.sink.pause(buffered_bytes=500)
    await audits.at(0.0)
    assert setting.client.reason is CloseReason.MEMORY
    assert other.client.reason is None


@pytest.mark.parametrize("writable", [False, True], ids=["audit", "turn"])
async def test_what_went_for_want_of_memory_is_not_its_client_s_fault(*, writable: bool) -> None:
    """A client within its bounds goes when history that it still needed went: for memory, whoever notices first."""
    registry, setting, _ = make_registry()
    audits = Audits(registry, setting, memory_bytes=1 << 30)
    setting.sink.pause()
    for _ in range(20):
        publish(setting.hub, setting.channels["a"])
    setting.channels["a"].mark_swept(setting.channels["a"].log.head)
    await audits.run(3)
    assert setting.client.reason is None
    audits.audit.memory_bytes = setting.hub.retention.charged_bytes - 1
    await audits.run()
    assert setting.client.reason is None
    if writable:
        setting.sink.resume()
        setting.client._take_turn()
    else:
        await audits.run()
    assert setting.client.reason is CloseReason.MEMORY


async def test_a_slow_client_is_slow_while_memory_is_short() -> None:
    """It is further behind than its queue is wide, whatever history there is."""
    registry, setting, _ = make_registry()
    audits = Audits(registry, setting, memory_bytes=1 << 30)
    setting.sink.pause()
    for _ in range(21):
        publish(setting.hub, setting.channels["a"])
    setting.channels["a"].mark_swept(setting.channels["a"].log.head)
    await audits.run()
    audits.audit.memory_bytes = setting.hub.retention.charged_bytes - 1
    await audits.run(2)
    assert setting.client.reason is CloseReason.SLOW


async def test_history_makes_room_for_answers_before_a_client_goes() -> None:
    """The memory of HTTP answers counts; a client with a buffer stays as long as history can go."""
    registry, setting, _ = make_registry()
    for _ in range(20):
        publish(setting.hub, setting.channels["a"])
    setting.channels["a"].mark_swept(setting.channels["a"].log.head)
    audits = Audits(registry, setting, memory_bytes=1 << 30)
    await audits.run()
    audits.audit.memory_bytes = retained_bytes = setting.hub.retention.charged_bytes
    await audits.run()
    assert setting.hub.retention.charged_bytes == retained_bytes
    audits.audit.answer_bytes = 1
    await audits.run()
    assert setting.hub.retention.charged_bytes < retained_bytes
    assert setting.client.reason is None
    audits.audit.answer_bytes = retained_bytes
    setting.sink.pause(buffered_bytes=1)
    await audits.run()
    assert setting.client.reason is CloseReason.MEMORY


async def test_what_was_received_and_is_not_read_counts_too() -> None:
    """While its sink says that it is worth counting: then its client may go, whether it is behind or not."""
    registry, setting, _ = make_registry()
    setting.client._join()
    audits = Audits(registry, setting, memory_bytes=1000 + setting.hub.retention.charged_bytes)
    setting.sink.received_bytes = 1001
    await audits.run()
    assert setting.client in registry
    setting.client.sink_receiving(held=True)
    setting.sink.received_bytes = 1000
    await audits.run()
    assert setting.client in registry
    setting.client.sink_receiving(held=False)
    setting.sink.received_bytes = 1001
    await audits.run()
    assert setting.client in registry
    setting.client.sink_receiving(held=True)
    await audits.run()
    assert setting.client.reason is CloseReason.MEMORY
    setting.client.sink_receiving(held=True)
    assert not registry.receiving, "who has gone is not held"


async def test_who_is_ready_is_not_looked_at() -> None:
    """The audit costs only those who are behind."""
    registry, setting, _ = make_registry()
    setting.client._join()
    assert not registry.behind
    setting.sink.pause()
    assert list(registry.behind) == [setting.client]


async def test_it_knows_for_how_long_somebody_is_behind() -> None:
    """As far as audits have seen; who is ready is not."""
    registry, setting, _ = make_registry()
    audits = Audits(registry, setting)
    assert registry.find(setting.client.id) is setting.client
    setting.client._join()
    await audits.at(0.0)
    assert registry.behind_seconds(setting.client) is None
    setting.sink.pause()
    await audits.at(1.0)
    await audits.at(1.25)
    assert registry.behind_seconds(setting.client) == 0.25


async def test_what_a_client_still_had_to_get_is_dropped_with_it() -> None:
    """Under the reason that it was closed with, and told with its farewell."""
    registry, setting, _ = make_registry()
    audits = Audits(registry, setting)
    setting.sink.pause(buffered_bytes=5)
    for payload in (b"1", b"22"):
        publish(setting.hub, setting.channels["a"], payload)
    await audits.at(0.0)
    await audits.at(0.25)
    setting.client.close(CloseReason.STALLED)
    (gone,) = registry.closed
    assert (gone.lag, gone.lag_bytes, gone.subscriptions, gone.behind_seconds) == (2, 8, 2, 0.25)
    assert {cause: count for cause, count in setting.hub.tally.dropped.items() if count} == {"closed_stalled": 2}


async def test_lag_is_sampled() -> None:
    """At each audit once per client: those who are ready have none; the furthest that a queue was behind is kept."""
    registry, setting, _ = make_registry()
    audits = Audits(registry, setting)
    setting.client._join()
    await audits.at(0.0)
    setting.sink.pause()
    for _ in range(3):
        publish(setting.hub, setting.channels["a"])
    await audits.at(0.25)
    tally = setting.hub.tally
    assert seen(tally.lag) == {0: 1, 4: 1}
    assert seen(tally.peak_lag) == {0: 1, 4: 1}, "one queue each on two channels"


async def test_who_leaves_between_two_steps_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit lets the loop turn, and what happens there counts: nobody is closed twice, or after catching up."""
    monkeypatch.setattr("fanwise.broadcaster.turns._STEP", 1)
    registry, first, _ = make_registry()
    audits = Audits(registry, first)
    audits.audit._turn_seconds = 0.0
    second = Scene(FakeSink())
    second.client.id = "2"
    second.host.changed = registry.changed
    registry.add(second.client)
    for setting in (first, second):
        setting.sink.pause()
        publish(setting.hub, setting.channels["a"])
    await audits.run(8)
    audit = asyncio.create_task(audits.audit.once())
    await asyncio.sleep(0)  # the first of them is judged
    assert first.sink.aborted
    second.client.close(CloseReason.OPERATOR)
    await audit
    assert not second.sink.aborted
    assert [gone.reason for gone in registry.closed] == [CloseReason.STALLED, CloseReason.OPERATOR]


async def test_an_audit_that_takes_long_is_no_late_loop() -> None:
    """What counts is the time from the end of one to the beginning of the next, or nobody would ever be stalled."""
    registry, setting, _ = make_registry()
    setting.sink.pause()
    publish(setting.hub, setting.channels["a"])

    def times() -> Iterator[float]:
        """Each audit begins at the first of two, and ends at the second."""
        for number in range(10):
            yield 4 * number * AUDIT_SECONDS
            yield (4 * number + 3) * AUDIT_SECONDS

    audits = Audits(registry, setting)
    audits.audit._clock = times().__next__
    while not setting.sink.aborted:
        await audits.audit.once()

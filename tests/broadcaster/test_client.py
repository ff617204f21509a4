from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from anyio.lowlevel import checkpoint

from fanwise.broadcaster.client import CATCH_UP_BYTES, Client, State
from fanwise.broadcaster.event_log import EventLog
from fanwise.broadcaster.host import ClientHost
from fanwise.broadcaster.outbox import Outbox
from fanwise.broadcaster.publisher import Publisher
from fanwise.broadcaster.registry import ClientRegistry
from fanwise.broadcaster.statistics import ClientStatistics
from fanwise.broadcaster.sweep import Sweeper
from fanwise.core.channel import Channel
from fanwise.core.dialect import PLAIN
from fanwise.core.encoding import plain_frame
from fanwise.core.hub import Hub
from fanwise.core.publication import Kind
from fanwise.core.reasons import CloseReason
from fanwise.transport.inbox import Inbox

from ..core.test_hub import make_hub, publish
from ..support.fakes import FakeSink

pytestmark = pytest.mark.anyio


def make_host(loop: asyncio.AbstractEventLoop, hub: Hub) -> ClientHost:
    """What a client lives on, with a registry that takes nobody in."""
    registry = ClientRegistry(leave=lambda _client: None)
    event_log = EventLog(memory_bytes=None, late_seconds=1.0)
    publisher = Publisher(hub, max_message_bytes=65_536, slice_bytes=1_000, sweep_seconds=1.0)
    return ClientHost(loop, registry, event_log, turn_seconds=1.0, hub=hub, publisher=publisher)


class Scene:
    """One client on the channels "a" and "b", and a sweeper."""

    def __init__(self, sink: FakeSink) -> None:
        self.hub: Hub = make_hub(queue_messages=20)
        self.sink = sink
        self.inbox = Inbox(pause=lambda: None, resume=lambda: None)
        self.host = make_host(asyncio.get_running_loop(), self.hub)
        self.sweeper = Sweeper(asyncio.get_running_loop(), slice_bytes=1000, sweep_seconds=1.0)
        self.client = Client(
            "1",
            address="somewhere:1",
            outbox=Outbox(sink, PLAIN),
            listen=lambda: self.inbox,
            close_seconds=1.0,
            owner=self.host,
        )
        self.channels = {name: self.hub.channel(name, time=0.0) for name in "ab"}
        for name in self.channels:
            self.client.begin(self.hub.subscribe(name, time=0.0))
        sink.attach(self.client)

    def publish(self, name: str, payload: bytes) -> None:
        publish(self.hub, self.channels[name], payload)
        self.sweeper.schedule(self.channels[name])

    async def end(self) -> None:
        self.client.close()
        if self.client.task is not None:
            await self.client.task

    async def settle(self) -> None:
        for _ in range(20):
            await checkpoint()

    def state(self) -> State:
        return self.client.state

    def ready(self, channel: Channel) -> int:
        return len(channel.group(plain_frame))


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    setting = Scene(FakeSink())
    setting.client.start()
    await setting.settle()
    yield setting
    await setting.end()


async def test_a_client_that_is_up_to_date_is_in_the_ready_groups() -> None:
    """In those of all its channels; its writer task sleeps, and sweeps serve it."""
    async with scene() as setting:
        assert setting.state() is State.READY
        assert [setting.ready(channel) for channel in setting.channels.values()] == [1, 1]
        setting.publish("a", b"1")
        setting.publish("b", b"2")
        await setting.settle()
        assert setting.sink.written == [b"\x81\x011", b"\x81\x012"]


async def test_a_paused_client_is_in_no_ready_group() -> None:
    """It leaves all of them at once, is not touched by publishing, and gets everything when it is resumed."""
    async with scene() as setting:
        setting.sink.pause()
        assert setting.state() is State.BEHIND
        assert [setting.ready(channel) for channel in setting.channels.values()] == [0, 0]
        for payload in (b"1", b"2", b"3"):
            setting.publish("a", payload)
        setting.publish("b", b"4")
        await setting.settle()
        assert setting.sink.written == []
        setting.sink.resume()
        await setting.settle()
        assert b"".join(setting.sink.written) == b"\x81\x011\x81\x012\x81\x013\x81\x014"
        assert setting.state() is State.READY


async def test_a_client_that_is_resumed_while_others_publish_loses_and_repeats_nothing() -> None:
    """Between its cursor and the ready group there is neither a hole nor an overlap."""
    async with scene() as setting:
        sent = b""
        for number in range(60):
            setting.publish("a", b"%02d" % number)
            sent += b"\x81\x02%02d" % number
            if number % 7 == 0:
                setting.sink.pause()
            if number % 7 == 3:
                setting.sink.resume()
            if number % 2:
                await checkpoint()
        setting.sink.resume()
        await setting.settle()
        assert b"".join(setting.sink.written) == sent


async def test_a_client_catches_up_slice_by_slice() -> None:
    """What waits in its transport is bounded, however far it is behind."""
    async with scene() as setting:
        setting.channels["a"].log.max_bytes = 10 * CATCH_UP_BYTES
        setting.sink.pause()
        for _ in range(6):
            publish(setting.hub, setting.channels["a"], bytes(CATCH_UP_BYTES // 2))
        setting.sweeper.schedule(setting.channels["a"])
        await setting.settle()
        setting.sink.resume()
        await setting.settle()
        assert len(setting.sink.written) == 3
        assert max(map(len, setting.sink.written)) <= CATCH_UP_BYTES + 20


async def test_a_rest_goes_to_the_transport_and_the_others_stay_in_the_log() -> None:
    """After a short write the client goes on exactly where its socket stopped."""
    async with scene() as setting:
        setting.publish("a", b"1")
        setting.publish("a", b"2")
        await setting.settle()
        setting.sink.written.clear()
        queue = setting.client.subscriptions["a"].queue
        setting.client.fall_behind(queue, 1, memoryview(b"rest"))
        await setting.settle()
        assert setting.sink.written == [b"rest", b"\x81\x012"]
        assert setting.state() is State.READY


async def test_a_client_that_the_log_has_left_behind_is_closed_as_slow() -> None:
    """What it did not get is gone: it is told so, and not left with a hole."""
    async with scene() as setting:
        setting.sink.pause()
        setting.channels["a"].log.max_messages = 20
        for _ in range(25):
            setting.publish("a", b"x")
        await setting.settle()
        setting.sink.resume()
        await setting.settle()
        assert setting.sink.reasons == [CloseReason.SLOW]
        assert setting.sink.written == []


async def test_closing_is_idempotent_and_the_first_reason_wins() -> None:
    """It leaves the groups at once, and its iteration ends."""
    async with scene() as setting:
        reader = asyncio.ensure_future(anext(aiter(setting.client)))
        await checkpoint()
        setting.client.close(CloseReason.SLOW)
        setting.client.close(CloseReason.SHUTDOWN)
        assert setting.state() is State.CLOSING
        assert setting.ready(setting.channels["a"]) == 0
        with pytest.raises(StopAsyncIteration):
            await reader
        await setting.settle()
        assert setting.sink.reasons == [CloseReason.SLOW]
        assert setting.state() is State.CLOSED
        assert setting.client.reason is CloseReason.SLOW


async def test_a_connection_that_ends_by_itself_closes_the_client() -> None:
    """Nothing is sent to it any more."""
    async with scene() as setting:
        setting.sink.end(CloseReason.LOST)
        assert setting.state() is State.CLOSED
        assert setting.client.reason is CloseReason.LOST
        setting.publish("a", b"1")
        await setting.settle()
        assert setting.sink.written == []
        assert setting.sink.reasons == []


async def test_a_sink_that_does_not_close_is_aborted() -> None:
    """The closing handshake is waited for, but not forever."""

    class Stubborn(FakeSink):
        async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
            await asyncio.Event().wait()

    setting = Scene(Stubborn())
    setting.client._close_seconds = 0.0
    await setting.end()
    assert setting.sink.aborted


async def test_what_the_log_has_let_go_of_is_dropped_with_its_client() -> None:
    """Under `disconnect` there is no gap to be told: all that the client did not get is what it still had to get."""
    async with scene() as setting:
        (queue,) = setting.channels["a"].queues
        setting.sink.pause()
        for _ in range(50):
            setting.publish("a", b"1")
        setting.channels["a"].log.trim(max_messages=10, max_bytes=1000)
        setting.sink.resume()
        await setting.settle()
        assert setting.client.reason is CloseReason.SLOW
        assert queue.qsize() == 50
        assert sum(setting.hub.tally.gaps.values()) == 0


async def test_a_broken_socket_is_aborted() -> None:
    """The sweep's error ends the connection without waiting for the loop to notice."""
    async with scene() as setting:
        (queue,) = setting.channels["a"].queues
        setting.publish("a", b"1")
        await setting.settle()
        setting.client.broken(queue, 0, CloseReason.STALLED)
        assert setting.sink.aborted
        assert setting.client.reason is CloseReason.STALLED, "whatever the event loop says it was"
        assert queue.qsize() == 1, "what the socket did not take is still to be got"
        assert setting.ready(setting.channels["a"]) == 0


async def test_the_client_iterates_over_what_it_sends() -> None:
    """Messages that were there before the iteration began are part of it."""
    async with scene() as setting:
        setting.inbox.put(Kind.TEXT, b"one")
        setting.inbox.put(Kind.BINARY, b"two")
        setting.inbox.end()
        assert [message async for message in setting.client] == ["one", b"two"]


async def test_the_names_of_states_are_what_statistics_tell() -> None:
    """`/clients` shows the value, so it is part of the outside."""
    assert [state.value for state in State] == ["behind", "ready", "closing", "closed"]
    assert "state" in ClientStatistics._fields

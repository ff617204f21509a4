from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from anyio.lowlevel import checkpoint

from fanwise.broadcaster.client import Client, State
from fanwise.broadcaster.node import Node
from fanwise.core.reasons import CloseReason
from fanwise.errors import DrainingError, FullError, NotRunningError
from fanwise.transport.inbox import Inbox

from ..support.fakes import AwaitedSink, FakeSink
from ..support.live import until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def joined(broadcaster: Node, channel: str = "lobby") -> AsyncIterator[tuple[Client, FakeSink]]:
    sink = FakeSink()
    inbox = Inbox(pause=lambda: None, resume=lambda: None)
    async with broadcaster.client(sink, lambda: inbox, channel=channel) as client:
        yield client, sink


async def test_everybody_on_the_channel_gets_it_and_nobody_else() -> None:
    """Text as text, bytes as binary, in the order of publishing."""
    async with (
        Node() as broadcaster,
        joined(broadcaster) as (_, one),
        joined(broadcaster) as (_, two),
        joined(broadcaster, "other") as (_, other),
    ):
        first = await broadcaster.publish("lobby", "text")
        second = broadcaster.publish_nowait("lobby", b"binary")
        await until(lambda: bool(one.written and two.written))
        assert one.written == two.written == [b"\x81\x04text\x82\x06binary"]
        assert other.written == []
        assert (first.offset, second.offset, first.epoch) == (1, 2, second.epoch)


async def test_who_comes_later_gets_nothing_from_before() -> None:
    """Also when it joins between a publication and its sweep."""
    async with Node() as broadcaster, joined(broadcaster) as (_, early):
        await until(lambda: broadcaster.statistics().channels[0].ready == 1)
        broadcaster.publish_nowait("lobby", "before")
        async with joined(broadcaster) as (_, late):
            broadcaster.publish_nowait("lobby", "after")
            await until(lambda: len(b"".join(early.written + late.written)) == 8 + 7 + 7)
            assert b"".join(early.written) == b"\x81\x06before\x81\x05after"
            assert b"".join(late.written) == b"\x81\x05after"


async def test_outside_its_lifespan_it_says_how_to_start_it() -> None:
    """Rather than losing what is published."""
    broadcaster = Node()
    with pytest.raises(NotRunningError, match="lifespan"):
        broadcaster.publish_nowait("lobby", "x")
    with pytest.raises(NotRunningError):
        broadcaster.publish_threadsafe("lobby", "x")
    with pytest.raises(NotRunningError):
        async with joined(broadcaster):
            pass


async def test_it_may_be_started_twice() -> None:
    """By its lifespan and by its router: the last one to end stops it."""
    broadcaster = Node()
    async with broadcaster:
        async with broadcaster:
            pass
        await broadcaster.publish("lobby", "x")
    with pytest.raises(NotRunningError):
        await broadcaster.publish("lobby", "x")


async def test_publishing_does_not_wait_for_a_paused_client() -> None:
    """The others get everything meanwhile; the paused one is closed when it is too far behind, and no other."""
    async with (
        Node(queue_messages=10) as broadcaster,
        joined(broadcaster) as (_, healthy),
        joined(broadcaster) as (_, stuck),
    ):
        await until(lambda: broadcaster.statistics().channels[0].ready == 2)
        stuck.pause()
        for _ in range(100):
            await broadcaster.publish("lobby", "x")
        await until(lambda: len(b"".join(healthy.written)) == 300)
        await until(lambda: bool(stuck.reasons))
        assert stuck.reasons == [CloseReason.SLOW]
        statistics = broadcaster.statistics()
        assert len(statistics.clients) == 1
        assert statistics.closed == {"slow": 1}


async def test_there_are_only_so_many_places() -> None:
    """One more is refused, and there is room again when somebody has left."""
    async with Node(max_clients=1) as broadcaster:
        async with joined(broadcaster):
            with pytest.raises(FullError):
                async with joined(broadcaster):
                    pass
        async with joined(broadcaster):
            assert len(broadcaster.statistics().clients) == 1


async def test_leaving_leaves_nothing_behind() -> None:
    """No client, no queue, no writer task; whether the endpoint returns, raises or is cancelled."""
    async with Node() as broadcaster:
        tasks = len(asyncio.all_tasks())
        async with joined(broadcaster) as (_, returned):
            pass
        with pytest.raises(ZeroDivisionError):
            async with joined(broadcaster) as (_, raised):
                raise ZeroDivisionError
        entered = asyncio.Event()

        async def endpoint() -> None:
            async with joined(broadcaster):
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(endpoint())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: len(asyncio.all_tasks()) == tasks)
        statistics = broadcaster.statistics()
        assert statistics.clients == ()
        assert [channel.clients for channel in statistics.channels] == [0]  # it goes after `history_seconds`
        assert statistics.closed == {"normal": 2, "internal": 1}
        assert (returned.reasons, raised.reasons) == ([CloseReason.NORMAL], [CloseReason.INTERNAL])


async def test_stopping_closes_who_is_left() -> None:
    """With a reason that says to come back."""
    async with Node() as broadcaster:
        context = joined(broadcaster)
        _, sink = await context.__aenter__()
    assert sink.reasons == [CloseReason.SHUTDOWN]
    await context.__aexit__(None, None, None)


async def test_a_client_whose_sink_takes_bytes_has_no_task_until_it_is_closed() -> None:
    """Idle, served or behind: only the closing handshake waits for the peer."""
    async with Node() as broadcaster, joined(broadcaster) as (client, sink):
        await checkpoint()
        await checkpoint()
        tasks = len(asyncio.all_tasks())
        broadcaster.publish_nowait("lobby", "1")
        sink.pause()
        broadcaster.publish_nowait("lobby", "2")
        await checkpoint()
        sink.resume()
        await until(lambda: client.state is State.READY)
        assert b"".join(sink.written) == b"\x81\x011\x81\x012"
        assert len(asyncio.all_tasks()) == tasks
        client.close()
        assert len(asyncio.all_tasks()) == tasks + 1


async def test_a_writer_that_dies_takes_its_client_with_it(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, and the client is not left unserved."""

    class Faulty(FakeSink):
        def write(self, data: bytes | memoryview) -> None:
            raise ZeroDivisionError

    async with Node() as broadcaster:
        sink = Faulty()
        inbox = Inbox(pause=lambda: None, resume=lambda: None)
        async with broadcaster.client(sink, lambda: inbox, channel="lobby"):
            sink.pause()
            broadcaster.publish_nowait("lobby", "x")
            await checkpoint()
            await checkpoint()
            sink.resume()
            await until(lambda: sink.aborted)
        assert broadcaster.statistics().closed == {"internal": 1}
        assert [record.levelname for record in caplog.records if "writer" in record.message] == ["ERROR"]


async def test_an_audit_that_dies_is_not_silent(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged once, and the broadcaster is not ready any more."""
    monkeypatch.setattr("fanwise.broadcaster.audit.AUDIT_SECONDS", 0)
    async with Node() as broadcaster:
        assert broadcaster.ready
        monkeypatch.setattr(broadcaster._hub.retention, "trim", lambda _time: 1 / 0)
        await until(lambda: not broadcaster.ready)
        await checkpoint()
    assert ["audit died" in record.message for record in caplog.records] == [True]


async def test_a_client_without_channels_is_not_behind() -> None:
    """It has everything: audits do not look at it, and it leaves with the first when the server stops."""
    async with Node() as broadcaster:
        sink = FakeSink()
        inbox = Inbox(pause=lambda: None, resume=lambda: None)
        async with broadcaster.client(sink, lambda: inbox) as client:
            await until(lambda: client.state is State.READY)
            assert not broadcaster._registry.behind
            broadcaster.subscribe(client, "lobby")
            await broadcaster.publish("lobby", "x")
            await until(lambda: sink.written == [b"\x81\x01x"])
            broadcaster.unsubscribe(client, "lobby")
            with pytest.raises(KeyError):
                broadcaster.unsubscribe(client, "lobby")
            await broadcaster.publish("lobby", "y")
            await until(lambda: client.state is State.READY)
            assert len(sink.written) == 1
        with pytest.raises(KeyError):
            broadcaster.unsubscribe(client, "lobby")


async def test_what_is_in_hand_is_dropped_with_its_client() -> None:
    """Over plain ASGI a batch waits for the peer: what it has not taken was not delivered."""
    sink = AwaitedSink()
    inbox = Inbox(pause=lambda: None, resume=lambda: None)
    async with Node() as broadcaster, broadcaster.client(sink, lambda: inbox, channel="lobby") as client:
        await until(lambda: broadcaster.statistics().clients[0].state == "ready")
        await broadcaster.publish("lobby", "first")
        await until(lambda: len(sink.sent) == 1)
        sink.gate.clear()
        for _ in range(3):
            await broadcaster.publish("lobby", "x")
        await until(lambda: client.outbox.in_flight > 0)
        client.abort(CloseReason.STALLED)
        assert broadcaster.inspect.closed()[0].lag == 3
        assert broadcaster.tally.dropped["closed_stalled"] == 3
        await until(lambda: client.outbox.in_flight == 0)
        assert broadcaster.tally.deliveries == 1


async def test_who_is_closed_by_an_operator_is_named_by_its_id() -> None:
    """A node is true, also without clients; an unknown id closes nobody."""
    async with Node() as broadcaster, joined(broadcaster) as (client, _):
        assert broadcaster
        assert len(broadcaster) == 1
        assert not broadcaster.close_client("unknown")
        assert broadcaster.close_client(client.id)
        assert client.reason is CloseReason.OPERATOR
        await until(lambda: not len(broadcaster))
        assert broadcaster


async def test_a_draining_node_closes_its_clients_and_takes_no_others() -> None:
    """It is not ready any more."""
    async with Node() as broadcaster, joined(broadcaster) as (client, _):
        await until(lambda: broadcaster.ready)
        await broadcaster.drain(seconds=0.01)
        assert client.reason is CloseReason.SHUTDOWN
        assert not broadcaster.ready
        with pytest.raises(DrainingError):
            broadcaster.check_room()


async def test_what_is_not_running_says_so() -> None:
    """Its writer is known while it runs."""
    broadcaster = Node()
    with pytest.raises(NotRunningError):
        assert broadcaster.writer
    async with broadcaster:
        assert broadcaster.writer.name == "write"

"""Servers behind one engine: what clients of one get of what is published on another."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import orjson
import pytest

from fanwise import Broadcaster
from fanwise.backplane.memory import MemoryBackplane, MemoryEngine
from fanwise.backplane.port import Arrival, Done, Opened
from fanwise.broadcaster import sharing
from fanwise.broadcaster.client import Client
from fanwise.broadcaster.sharing import DOWN_SECONDS
from fanwise.core.dialect import JSON
from fanwise.core.publication import Kind, Position, Publication
from fanwise.embedding import SharedBroadcaster
from fanwise.errors import (
    BackplaneDownError,
    ChannelNameError,
    MessageTooBigError,
    NotRunningError,
    PayloadError,
    PublishNowaitError,
)
from fanwise.transport.inbox import Inbox

from ..support.fakes import FakeSink
from ..support.live import until

pytestmark = pytest.mark.anyio


class Reader:
    """A client of the JSON dialect and all that it was sent."""

    def __init__(self, sink: FakeSink, client: Client) -> None:
        self.sink = sink
        self.client = client

    @property
    def messages(self) -> list[dict[str, object]]:
        data, found = b"".join(self.sink.written), []
        while data:
            size, begin = data[1], 2
            if size == 126:
                size, begin = int.from_bytes(data[2:4]), 4
            found.append(orjson.loads(data[begin : begin + size]))
            data = data[begin + size :]
        return found

    def texts(self) -> list[object]:
        return [one["data"] for one in self.messages if one["op"] == "message"]

    def gaps(self) -> list[tuple[object, ...]]:
        return [(one["epoch"], one["from"], one["to"], one["reason"]) for one in self.messages if one["op"] == "gap"]

    async def has(self, *texts: str) -> None:
        await until(lambda: self.texts()[-1:] == [texts[-1]])
        assert self.texts() == list(texts)


@asynccontextmanager
async def reader(broadcaster: Broadcaster, since: Position | None = None) -> AsyncIterator[Reader]:
    sink = FakeSink()
    inbox = Inbox(pause=lambda: None, resume=lambda: None)
    async with broadcaster.client(sink, lambda: inbox, channel="lobby", since=since, dialect=JSON) as client:
        yield Reader(sink, client)


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine(publish_seconds=0.5)


@pytest.fixture
async def servers(engine: MemoryEngine) -> AsyncIterator[tuple[Broadcaster, Broadcaster]]:
    one, two = (Broadcaster(backplane=engine.backplane()) for _ in range(2))
    async with one, two:
        yield one, two


async def test_a_publication_reaches_clients_everywhere(servers: tuple[Broadcaster, Broadcaster]) -> None:
    """With one position, which its publisher gets."""
    one, two = servers
    async with reader(one) as here, reader(two) as there:
        first = await one.publish("lobby", "a")
        second = await two.publish("lobby", "b")
        assert (first.offset, second.offset, first.epoch) == (1, 2, second.epoch)
        for client in (here, there):
            await client.has("a", "b")
            assert client.gaps() == []


async def test_a_client_goes_on_elsewhere(servers: tuple[Broadcaster, Broadcaster]) -> None:
    """From its position, on a server that never had the channel, or that has it from later on."""
    one, two = servers
    publications = [await one.publish("lobby", str(number)) for number in range(5)]
    async with reader(two, publications[1].position) as resumed:
        await resumed.has("2", "3", "4")
        async with reader(two, publications[0].position) as earlier:
            await earlier.has("1", "2", "3", "4")
            assert resumed.gaps() == earlier.gaps() == []
        async with reader(two, Position("gone", 3)) as foreign:
            await foreign.has("0", "1", "2", "3", "4")
            assert foreign.gaps() == [(publications[0].epoch, 1, 0, "epoch")]


async def test_a_channel_that_was_forgotten_has_its_history_again(engine: MemoryEngine) -> None:
    """For a client that resumes where another one did before the channel made room, and came back without history."""
    async with Broadcaster(backplane=engine.backplane(), max_channels=1) as server:
        publications = [await server.publish("lobby", str(number)) for number in range(3)]
        async with reader(server, publications[0].position) as before:
            await before.has("1", "2")
        await server.sharing.ready("other", None)
        async with reader(server), reader(server, publications[0].position) as after:
            await after.has("1", "2")
            assert after.gaps() == []


async def test_a_client_may_be_ahead_of_its_server(servers: tuple[Broadcaster, Broadcaster]) -> None:
    """It comes from a faster one: the server catches up first, and tells no gap."""
    one, two = servers
    async with reader(two):
        assert isinstance(two, SharedBroadcaster)
        connection = two.sharing._backplane
        assert isinstance(connection, MemoryBackplane)
        connection._paused = True
        last = await one.publish("lobby", "a")
        asyncio.get_running_loop().call_soon(connection.go_on)
        async with reader(two, last.position) as ahead:
            await one.publish("lobby", "b")
            await ahead.has("b")
            assert ahead.gaps() == []


@pytest.mark.parametrize("paused", [False, True], ids=["ready", "behind"])
async def test_lost_data_is_one_gap(
    engine: MemoryEngine, servers: tuple[Broadcaster, Broadcaster], *, paused: bool
) -> None:
    """Of another epoch; a client that reads slowly gets all of the old log first."""
    one, two = servers
    async with reader(two) as client:
        if paused:
            client.sink.pause()
        before = await one.publish("lobby", "before")
        engine.turn()
        after = await one.publish("lobby", "after")
        await one.publish("lobby", "later")
        if paused:
            await until(lambda: two._hub.find("lobby") is not None and len(two._hub.retired) == 1)
            assert client.texts() == []
            client.sink.resume()
        await client.has("before", "after", "later")
        assert client.gaps() == [(after.epoch, 1, 0, "epoch")]
        assert before.epoch != after.epoch
        assert not two._hub.retired


async def test_what_the_engine_has_no_more_is_one_gap() -> None:
    """In the epoch that there is; what the history has is no gap."""
    small = MemoryEngine(kept_frames=2)
    one, two = (Broadcaster(backplane=small.backplane()) for _ in range(2))
    async with one, two, reader(two) as client:
        await one.publish("lobby", "0")
        await client.has("0")
        for lost in (False, True):
            before = len(client.texts())
            connection = next(reversed(small._backplanes))
            connection._paused = True
            for _ in range(4):
                await one.publish("lobby", "x")
            if lost:
                small.lose_history()
            connection.go_on()
            last = await one.publish("lobby", "last")
            await until(lambda: client.texts()[-1:] == ["last"])
            assert len(client.texts()) - before == (1 if lost else 5)
            assert client.gaps() == ([(last.epoch, 8, 11, "backplane")] if lost else [])
            await one.publish("lobby", "y")
            await until(lambda: client.texts()[-1:] == ["y"])


async def test_many_clients_move(engine: MemoryEngine, servers: tuple[Broadcaster, Broadcaster]) -> None:
    """All of them, some in a turn, each told once."""
    one, two = servers
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(reader(two)) for _ in range(200)]
        await one.publish("lobby", "a")
        engine.turn()
        await one.publish("lobby", "b")
        for client in clients:
            await client.has("a", "b")
            assert len(client.gaps()) == 1
        await until(lambda: not two._hub.retired)


async def test_an_engine_that_hangs(engine: MemoryEngine, servers: tuple[Broadcaster, Broadcaster]) -> None:
    """Publishing and new channels fail in time; clients stay, and after a while the server is not ready."""
    one, two = servers
    async with reader(two) as client:
        await until(lambda: two.ready)
        engine.stall()
        assert two.ready
        assert engine.stalled_at is not None
        engine.stalled_at -= DOWN_SECONDS
        assert (two.ready, two.unready) == (False, "backplane")
        with pytest.raises(BackplaneDownError):
            await one.publish("lobby", "lost")
        with pytest.raises(BackplaneDownError):
            await two.sharing.ready("other", None)
        engine.stall(stalled=False)
        await one.publish("lobby", "a")
        await client.has("a")
        assert two.ready


async def test_a_crowd_that_waits_for_a_channel_goes_on_in_portions(servers: tuple[Broadcaster, Broadcaster]) -> None:
    """The loop belongs to others in between."""
    loop, turns, woken = asyncio.get_running_loop(), 0, Counter[int]()

    def turn() -> None:
        nonlocal turns
        turns += 1
        if woken.total() < 1000:
            loop.call_soon(turn)

    async def wait() -> None:
        await servers[0].sharing.ready("lobby", None)
        woken[turns] += 1

    waiting = [asyncio.create_task(wait()) for _ in range(1000)]
    turn()
    await asyncio.gather(*waiting)
    assert max(woken.values()) <= 200


async def test_nothing_waits_longer_than_a_subscriber_does(
    engine: MemoryEngine, servers: tuple[Broadcaster, Broadcaster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a channel that is far behind others in the line after an interruption."""
    monkeypatch.setattr(sharing, "OPEN_SECONDS", 0.05)
    engine.publish_seconds = 60.0
    _, two = servers
    await two.sharing.ready("lobby", None)
    engine.turn()
    engine.stall()
    two.sharing.interrupted(lambda _: True)
    for name in ("lobby", "other"):
        with pytest.raises(BackplaneDownError, match="it is stalled"):
            await two.sharing.ready(name, None)
    engine.stall(stalled=False)
    await two.sharing.ready("lobby", None)


async def test_the_engine_is_asked_for_no_history_twice(
    engine: MemoryEngine, servers: tuple[Broadcaster, Broadcaster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often somebody comes with an old position, or one of another log: what is not here is nowhere."""
    one, two = servers
    asked: list[Position | None] = []
    answer = engine.open
    for number in range(1500):
        last = await one.publish("lobby", str(number))

    def note(name: str, since: Position | None) -> Opened:
        asked.append(since)
        return answer(name, since)

    monkeypatch.setattr(engine, "open", note)
    await two.sharing.ready("lobby", None)
    for _ in range(3):
        await two.sharing.ready("lobby", Position(last.epoch, 7))
        await two.sharing.ready("lobby", Position(last.epoch, 1400))
        await two.sharing.ready("lobby", Position("gone", 7))
    behind_head = Position(last.epoch, 1500)
    assert asked == [None, Position(last.epoch, 7), behind_head, Position(last.epoch, 0), behind_head, behind_head]
    assert two._hub.channel("lobby", time=0.0).log.first <= 501


async def test_an_answer_to_others_is_not_taken_for_ones_own(
    servers: tuple[Broadcaster, Broadcaster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be older than what a client has had elsewhere, whose log is not gone then."""
    one, two = servers
    connection = two.sharing._backplane
    asked: list[Done] = []
    monkeypatch.setattr(connection, "open", lambda _name, _since, done: asked.append(done))
    last = [await one.publish("lobby", str(number)) for number in range(4)][-1]
    answers = [Opened(last.epoch, head, [_arrival(last, offset) for offset in range(1, head + 1)]) for head in (2, 4)]
    earlier = asyncio.create_task(two.sharing.ready("lobby", Position(last.epoch, 1)))
    later = asyncio.create_task(two.sharing.ready("lobby", Position(last.epoch, 3)))
    await until(lambda: len(asked) == 2)
    asked[0](answers[0])
    await earlier
    assert not later.done()
    asked[1](answers[1])
    await later
    assert len(asked) == 2
    assert two._hub.channel("lobby", time=0.0).log.head == 4


def _arrival(like: Publication, offset: int) -> Arrival:
    return Arrival(
        channel=like.channel, epoch=like.epoch, offset=offset, payload=b"x", kind=like.kind, key=None, at_ms=0
    )


async def test_many_channels_are_opened_anew_some_at_a_time(
    engine: MemoryEngine, servers: tuple[Broadcaster, Broadcaster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an interruption; those that were forgotten meanwhile are not asked for."""
    one, two = servers
    names = [f"c{number}" for number in range(1000)]
    await asyncio.gather(*(two.sharing.ready(name, None) for name in names))
    connection = two.sharing._backplane
    assert isinstance(connection, MemoryBackplane)
    most = 0

    def count(name: str, since: Position | None, done: Done) -> None:
        nonlocal most
        opens(name, since, done)
        most = max(most, len(connection._opens))

    opens = connection.open
    monkeypatch.setattr(connection, "open", count)
    engine.turn()
    await until(lambda: bool(two.sharing._reopening))
    two._hub.retention._forget(two._hub.channel("c999", time=0.0))
    await until(lambda: not two.sharing._reopening)
    assert 0 < most <= 200
    assert two._hub.find("c999") is None
    for name in names[:999:100]:
        published = await one.publish(name, "x")
        await until(lambda: two._hub.channel(name, time=0.0).log.head == 1)  # noqa: B023 - it is done in this round
        assert two._hub.channel(name, time=0.0).log.epoch == published.epoch


async def test_what_arrives_together_is_what_arrives_one_by_one(servers: tuple[Broadcaster, Broadcaster]) -> None:
    """Each once: before the head, over it, behind a hole, on a channel that is not open here, and in a new epoch."""
    one, two = servers
    position = (await one.publish("lobby", "0")).position

    def several(first: int, last: int, epoch: str = position.epoch, channel: str = "lobby") -> Arrival:
        payloads = [b"%d" % offset for offset in range(first, last + 1)]
        return Arrival(channel, epoch, first, payloads[0], Kind.TEXT, None, 0, more=payloads[1:])

    async with reader(two) as client:
        counts = two.sharing.counts
        await until(lambda: two._hub.channel("lobby", time=0.0).log.head == 1)
        before = counts.received, counts.skipped
        for arrival in (several(2, 4), several(1, 3), several(3, 6), several(9, 10), several(1, 5, channel="other")):
            two.sharing.arrived([arrival])
        await client.has("2", "3", "4", "5", "6", "9", "10")
        two.sharing.arrived([several(1, 2, epoch="new")])
        await client.has("2", "3", "4", "5", "6", "9", "10", "1", "2")
        assert client.gaps() == [(position.epoch, 7, 8, "backplane"), ("new", 1, 0, "epoch")]
        assert (counts.received - before[0], counts.skipped - before[1]) == (3 + 3 + 4 + 2 + 5 + 2, 3 + 2 + 5)


async def test_what_arrives_is_counted(servers: tuple[Broadcaster, Broadcaster]) -> None:
    """And what of it was for channels that are not open here."""
    one, two = servers
    async with reader(two) as client:
        for name in ("lobby", "other"):
            await one.publish(name, "x")
        await one.publish("lobby", "y")
        await client.has("x", "y")
        counts = two.sharing.counts
        assert (counts.received, counts.skipped, counts.delay.count, counts.links) == (3, 1, 3, 1)
        assert list(two.sharing.in_use(published=True)) == ["lobby"]
        assert list(two.sharing.in_use(published=False)) == []


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda one: one.publish("no good", "x"), ChannelNameError),
        (lambda one: one.publish("lobby", "x" * 70_000), MessageTooBigError),
        (lambda one: one.sharing.ready("no good", None), ChannelNameError),
    ],
)
async def test_mistakes_are_told(
    servers: tuple[Broadcaster, Broadcaster], act: Callable[[Broadcaster], object], error: type[Exception]
) -> None:
    """Before anything is sent."""
    with pytest.raises(error):
        await act(servers[0])  # type: ignore[misc]


async def test_publishing_without_waiting_is_refused(servers: tuple[Broadcaster, Broadcaster]) -> None:
    """With what to use in its place; publishing from a thread is fine."""
    one, _ = servers
    with pytest.raises(PublishNowaitError, match=r"use `await publish.*submit"):
        one.publish_nowait("lobby", "x")
    future = one.publish_threadsafe("lobby", "x")
    assert (await asyncio.wrap_future(future)).offset == 1
    later = [one.submit("lobby", "y"), one.submit("lobby", {1, 2})]
    found = await asyncio.gather(*later, return_exceptions=True)
    assert isinstance(found[0], Publication)
    assert found[0].offset == 2
    assert isinstance(found[1], PayloadError)


async def test_a_lone_server_submits_too() -> None:
    """At once: the same code runs with and without a backplane."""
    async with Broadcaster() as alone:
        future = alone.submit("lobby", "x")
        assert future.done()
        assert (await future).offset == 1
        with pytest.raises(ChannelNameError):
            await alone.submit("no good", "x")
        with pytest.raises(NotRunningError):
            _ = alone.sharing

"""The promises of `backplane.port`, held against each engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from fanwise import Broadcaster
from fanwise.backplane.memory import MemoryEngine
from fanwise.backplane.port import ONLY_LOOK, Backplane, Once, Opened, Outgoing
from fanwise.core.dialect import JSON, PLAIN, Dialect
from fanwise.core.publication import Kind, Position
from fanwise.errors import BackplaneDownError, IdempotencyError, UnconfirmedError

from ..support.backplanes import Engine, Node
from ..support.engines import RedisEngine, RedisServer, redis_server
from ..support.fakes import FakeSink
from ..support.live import until
from ..support.nats import NatsEngine, NatsServer, nats_server

pytestmark = pytest.mark.anyio
NUMBERS = count()


class InMemory:
    """The engine in memory, with methods that can be awaited as those of others."""

    def __init__(self) -> None:
        self.engine = MemoryEngine(history_messages=1000, publish_seconds=0.5)
        self.backplane = self.engine.backplane

    async def turn(self) -> None:
        self.engine.turn()

    async def lose_frames(self) -> None:
        self.engine.lose_frames()

    async def lose_history(self) -> None:
        self.engine.lose_history()

    def cut(self, backplane: Backplane) -> None:
        """Nothing is on its way."""

    async def channels(self) -> set[str]:
        return set(self.engine._channels)

    async def stall(self, *, stalled: bool) -> None:
        self.engine.stall(stalled=stalled)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture(params=["memory", "redis", "nats"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    if request.param == "memory":
        yield InMemory()
    elif request.param == "nats":
        async with NatsEngine(request.getfixturevalue("nats"), f"p{next(NUMBERS)}") as engine:
            yield engine
    else:
        async with RedisEngine(request.getfixturevalue("server"), f"p{next(NUMBERS)}") as redis:
            yield redis


@pytest.fixture
async def nodes(engine: Engine) -> AsyncIterator[tuple[Node, Node]]:
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
        await one.open("lobby")
        await two.open("lobby")
        yield one, two
        assert one.wrong == two.wrong == []


async def test_all_nodes_hear_all_in_one_order(nodes: tuple[Node, Node]) -> None:
    """Also the one that publishes; each position is the one that was acknowledged, and offsets are dense."""
    futures = [
        node.publish("lobby", b"%d of %d" % (number, place))
        for number in range(200)
        for place, node in enumerate(nodes)
    ]
    positions = await asyncio.gather(*futures)
    assert sorted(position.offset for position in positions) == list(range(1, 401))
    for node in nodes:
        await node.has(max(positions))
    one, two = nodes
    assert one.story == two.story
    assert (len(one.heard()), one.gaps()) == (400, [])
    for place in (0, 1):
        assert [text for text in one.heard() if text.endswith(b"%d" % place)] == [
            b"%d of %d" % (n, place) for n in range(200)
        ]


async def test_a_publication_arrives_as_it_was_sent(nodes: tuple[Node, Node]) -> None:
    """Payload, kind, key, tags, who is excluded, and the span; whatever bytes there are."""
    one, two = nodes
    span = f"{7:032x}-{9:016x}"
    payload, key = bytes(range(256)) + b"\r\n 1 2 3\n", "a key\n\u20ac \ud800 "
    outgoing = [
        (payload, Kind.BINARY, None, None, "9f2c01ab77e4", None),
        (b"", Kind.TEXT, key, {"city": "K\u00f6ln \U0001f30d", "s": ""}, "a-1", span),
        (b'{"a": 1}', Kind.JSON, "", None, None, None),
        (b"\n", Kind.TEXT, None, {"s": "1 2 3"}, None, None),
        (b"s", Kind.TEXT, None, None, None, span),
    ]
    positions = [
        await one.backplane.publish(Outgoing("lobby", data, kind, name, tags=tags, exclude=exclude, span=span))
        for data, kind, name, tags, exclude, span in outgoing
    ]
    for node in nodes:
        await node.has(positions[-1])
    arrivals = [one for one in two.story["lobby"] if not isinstance(one, Position)]
    assert [(one.payload, one.kind, one.key, one.tags, one.exclude, one.span) for one in arrivals] == outgoing
    assert two.story == one.story
    again = await two.open("lobby", Position(positions[0].epoch, 0))
    assert [one._replace(at_ms=0) for one in again.publications] == [one._replace(at_ms=0) for one in arrivals]


@pytest.mark.parametrize("dialect", [PLAIN, JSON], ids=["plain", "json"])
async def test_the_own_client_is_excluded_through_the_engine(engine: Engine, dialect: Dialect) -> None:
    """With a filter and without, by id from the other worker; no other client is, on either worker."""
    one, two = (Broadcaster(backplane=engine.backplane(), trim_heap=False) for _ in range(2))
    async with one, two:
        sinks = [FakeSink() for _ in range(4)]
        clients = [node.add_client(sinks[at], dialect=dialect) for at, node in enumerate((one, one, two, two))]
        for at, node in enumerate((one, one, two, two)):
            wanted = {"s": "a"} if at % 2 else None
            await node.subscribe_in_turn(clients[at], "lobby", filter=wanted)
        for number in range(40):
            publisher, tags = (one, two)[number % 2], {"s": "ab"[number // 4 % 2]}
            await publisher.publish("lobby", f"{number:02}", tags=tags, exclude=clients[number % 4].id)
        await one.publish("lobby", "end", tags={"s": "a"})
        await until(lambda: all(sink.said[-1:] == ["end"] for sink in sinks))
        for at, sink in enumerate(sinks):
            mine = [number for number in range(40) if number % 4 != at and not (at % 2 and number // 4 % 2)]
            assert sink.said == [*(f"{number:02}" for number in mine), "end"]


async def test_a_channel_that_is_opened_late(nodes: tuple[Node, Node]) -> None:
    """It stands at its head; on demand with what came after a position, or with all if that is of another epoch."""
    one, two = nodes
    positions = [await one.publish("other", b"%d" % number) for number in range(5)]
    assert "other" not in two.story
    epoch = positions[0].epoch
    at_head = await two.open("other")
    assert (at_head.epoch, at_head.head, list(at_head.publications)) == (epoch, 5, [])
    after = await two.open("other", Position(epoch, 3))
    assert [one.payload for one in after.publications] == [b"3", b"4"]
    of_another = await two.open("other", Position("another", 99))
    assert [one.offset for one in of_another.publications] == [1, 2, 3, 4, 5]
    assert list((await two.open("other", Position(epoch, 5))).publications) == []
    assert list((await two.open("other", Position(epoch, 50))).publications) == []
    empty = await two.open("empty", Position("another", 1))
    assert (empty.head, list(empty.publications)) == (0, [])
    assert (await one.open("empty")).epoch == empty.epoch


async def test_a_look_begins_no_channel(engine: Engine, nodes: tuple[Node, Node]) -> None:
    """It says where one stands that was begun, without its publications."""
    one, two = nodes
    before = await engine.channels()
    for _ in range(3):
        assert await two.open("new", ONLY_LOOK) == Opened("", 0, [])
    assert await engine.channels() == before != set()
    begun = await one.open("new")
    assert await two.open("new", ONLY_LOOK) == Opened(begun.epoch, 0, [])
    await one.publish("new", b"x")
    assert await two.open("new", ONLY_LOOK) == Opened(begun.epoch, 1, [])
    assert len(await engine.channels()) == len(before) + 1


async def test_opening_while_others_publish_loses_nothing(nodes: tuple[Node, Node]) -> None:
    """What came before is in the answer, and all else follows it."""
    one, two = nodes
    futures = []
    opened = []
    for number in range(60):
        futures.append(one.publish("busy", b"%d" % number))
        if number % 7 == 0:
            opened.append(two.ask("busy", Position("none", 0)))
        if number % 5 == 0:
            await asyncio.sleep(0)
    positions = await asyncio.gather(*futures)
    await asyncio.gather(*opened)
    await two.has(positions[-1], "busy")
    assert two.heard("busy") == [b"%d" % number for number in range(60)]
    assert two.gaps("busy") == []


async def test_a_node_that_wants_no_more_is_not_given_more(nodes: tuple[Node, Node]) -> None:
    """Until it says so; then it gets everything."""
    one, two = nodes
    two.held = True
    await one.publish("lobby", b"first")
    positions = [await one.publish("lobby", b"%d" % number) for number in range(20)]
    assert len(two.heard()) <= 1
    two.held = False
    two.backplane.go_on()
    await two.has(positions[-1])
    assert len(two.heard()) == 21
    assert two.gaps() == []


async def test_lost_data_is_another_epoch(engine: Engine, nodes: tuple[Node, Node]) -> None:
    """All nodes are told, and hear what comes then."""
    one, two = nodes
    before = await one.publish("lobby", b"before")
    await two.has(before)
    await engine.turn()
    after = await one.publish("lobby", b"after")
    assert after.epoch != before.epoch
    for node in nodes:
        await node.has(after)
        assert node.heard() == [b"before", b"after"]
        assert [gap.epoch for gap in node.gaps()] == [after.epoch]
        assert node.interruptions


async def test_a_node_that_falls_too_far_behind_gets_it_from_the_history(
    engine: Engine, nodes: tuple[Node, Node]
) -> None:
    """It is interrupted, and nothing is missing."""
    one, two = nodes
    two.held = True
    for number in range(5):
        await one.publish("lobby", b"%d" % number)
    await engine.lose_frames()
    last = await one.publish("lobby", b"last")
    two.held = False
    engine.cut(two.backplane)
    two.backplane.go_on()
    await two.has(last)
    assert two.interruptions == 1
    assert two.gaps() == []
    assert two.heard() == one.heard()


async def test_what_the_engine_has_no_more_is_a_gap(engine: Engine, nodes: tuple[Node, Node]) -> None:
    """In the same epoch, and it ends where things go on."""
    one, two = nodes
    two.held = True
    for number in range(5):
        await one.publish("lobby", b"%d" % number)
    await engine.lose_frames()
    await engine.lose_history()
    last = await one.publish("lobby", b"last")
    two.held = False
    engine.cut(two.backplane)
    two.backplane.go_on()
    await two.has(last)
    assert two.gaps() == [Position(last.epoch, 5)]
    assert two.heard()[-1] == b"last"


async def test_publications_wait_for_an_engine_that_hangs(engine: Engine, nodes: tuple[Node, Node]) -> None:
    """And are published once, in their order, when it goes on."""
    one, two = nodes
    await engine.stall(stalled=True)
    futures = [one.publish("lobby", b"%d" % number) for number in range(300)]
    await asyncio.sleep(0)
    await engine.stall(stalled=False)
    positions = await asyncio.gather(*futures)
    await two.has(positions[-1])
    assert two.heard() == [b"%d" % number for number in range(300)]


async def test_they_do_not_wait_for_ever(engine: Engine, nodes: tuple[Node, Node]) -> None:
    """Perhaps published, if they were sent; certainly not, if not. Afterwards the engine says which."""
    one, two = nodes
    await engine.stall(stalled=True)
    futures = [one.publish("lobby", b"%d" % number) for number in range(300)]
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {BackplaneDownError, UnconfirmedError}
    assert not one.backplane.standing().up
    await engine.stall(stalled=False)
    last = await one.publish("lobby", b"last")
    await two.has(last)
    down = {b"%d" % number for number, outcome in enumerate(outcomes) if isinstance(outcome, BackplaneDownError)}
    assert down.isdisjoint(two.heard())
    assert one.backplane.standing().up


async def test_what_waits_is_bounded(engine: Engine, nodes: tuple[Node, Node]) -> None:
    """In number and in bytes: what does not fit is not published."""
    one, _ = nodes
    await engine.stall(stalled=True)
    futures = [one.publish("lobby", b"x") for _ in range(5000)]
    refused = [future for future in futures if future.done()]
    assert len(refused) >= 5000 - 4096 - 128
    assert {type(future.exception()) for future in refused} == {BackplaneDownError}
    large = [one.publish("lobby", bytes(1_000_000)) for _ in range(20)]
    assert any(future.done() for future in large)
    await engine.stall(stalled=False)
    await asyncio.gather(*futures, *large, return_exceptions=True)


async def test_stopping_fails_what_waits(engine: Engine) -> None:
    """Nobody waits for ever."""
    async with Node(engine.backplane()) as node:
        await engine.stall(stalled=True)
        futures = [node.publish("lobby", b"%d" % number) for number in range(300)]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {BackplaneDownError, UnconfirmedError}
    await engine.stall(stalled=False)


async def test_a_request_is_published_once(nodes: tuple[Node, Node]) -> None:
    """On any node, alone or among others; another request under its key is refused, and spoils no other."""
    one, two = nodes

    def request(node: Node, key: str, digest: str, text: bytes) -> asyncio.Future[Position]:
        return node.backplane.publish(Outgoing("lobby", text, Kind.TEXT, None, Once(key, digest)))

    first = await request(one, "a1", "0a", b"first")
    assert await request(two, "a1", "0a", b"first") == first  # a frame with nothing new in it
    futures = [
        request(two, "a1", "0a", b"first"),
        two.publish("lobby", b"plain"),
        request(two, "a1", "0b", b"another"),
        request(two, "a2", "0b", b"second"),
    ]
    again, plain, refused, second = await asyncio.gather(*futures, return_exceptions=True)
    assert again == first
    assert isinstance(refused, IdempotencyError)
    assert isinstance(second, Position)
    assert second.offset == first.offset + 2
    assert await request(one, "a2", "0b", b"second") == second
    await one.has(second)
    assert one.heard() == [b"first", b"plain", b"second"]
    assert isinstance(plain, Position)


async def test_a_node_counts_what_becomes_of_its_publications(engine: Engine) -> None:
    """How long each took; what was refused, and what perhaps was published."""
    async with Node(engine.backplane()) as node:
        await asyncio.gather(*(node.publish("lobby", b"x") for _ in range(5)))
        counts = node.backplane.counts
        assert (counts.publish.count, counts.refused, counts.unconfirmed, counts.links) == (5, 0, 0, 1)
        assert 0 <= counts.publish.sum < 60
        await engine.stall(stalled=True)
        failing = [node.publish("lobby", b"x") for _ in range(2)]
        errors = await asyncio.gather(*failing, return_exceptions=True)
        assert all(isinstance(error, (BackplaneDownError, UnconfirmedError)) for error in errors)
        assert counts.refused + counts.unconfirmed == 2
        await engine.stall(stalled=False)

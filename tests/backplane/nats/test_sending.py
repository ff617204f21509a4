from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fanwise.backplane.nats.backplane import NatsBackplane
from fanwise.backplane.nats.dial import api
from fanwise.backplane.nats.link import Delivery, Link
from fanwise.errors import BackplaneDownError, UnconfirmedError

from ...support.backplanes import Node
from ...support.live import until
from ...support.nats import NatsEngine, NatsServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def patient(server: NatsServer) -> AsyncIterator[tuple[NatsEngine, Node, Node]]:
    """Nodes whose publications wait for longer than a busy machine takes."""
    engine = NatsEngine(server, "patient", check_seconds=0.2, publish_seconds=60.0)
    async with engine, Node(engine.backplane()) as one, Node(engine.backplane()) as two:
        await one.open("lobby")
        await two.open("lobby")
        yield engine, one, two


@pytest.fixture
async def nodes(engine: NatsEngine) -> AsyncIterator[tuple[Node, Node]]:
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
        await one.open("lobby")
        await two.open("lobby")
        yield one, two
        assert one.wrong == two.wrong == []


def link_of(node: Node) -> Link:
    assert isinstance(node.backplane, NatsBackplane)
    assert node.backplane._link is not None
    return node.backplane._link


async def test_links_that_break_publish_each_once(patient: tuple[NatsEngine, Node, Node]) -> None:
    """Cut right behind a message, before its answer, again and again; and another node publishes meanwhile."""
    engine, *nodes = patient
    futures = []
    for number in range(20):
        futures += [node.publish("lobby", b"%d" % number) for node in nodes]
        await asyncio.sleep(0)  # it is sent
        await asyncio.sleep(0)
        engine.cut(nodes[number % 2].backplane)
        await until(lambda: all(node.backplane.standing().up for node in nodes))
    positions = await asyncio.gather(*futures)
    assert sorted(position.offset for position in positions) == list(range(1, 41))
    for node in nodes:
        await node.has(max(positions))
        assert sorted(node.heard()) == sorted(b"%d" % number for number in (*range(20), *range(20)))
        assert node.gaps() == []


async def test_an_answer_that_is_lost(nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream says it as well: the message is ours."""
    one, two = nodes
    link = link_of(one)

    def lose(delivery: Delivery) -> None:
        link._replies.pop(int(delivery.subject.rsplit(b".", 1)[1]))

    monkeypatch.setitem(link._subscriptions, b"1", lose)
    position = await one.publish("lobby", b"a")
    await two.has(position)
    assert (two.heard(), position.offset) == ([b"a"], 1)


async def test_nothing_is_answered(patient: tuple[NatsEngine, Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the server nor by the stream: the link is given up, and the next one says that it was published."""
    _, one, two = patient
    link = link_of(one)
    for sid in link._subscriptions:
        monkeypatch.setitem(link._subscriptions, sid, lambda _: None)
    position = await one.publish("lobby", b"a")
    await two.has(position)
    assert link.lost
    assert two.heard().count(b"a") == 1


async def test_a_payload_above_the_servers_limit(nodes: tuple[Node, Node]) -> None:
    """It is not published, and the others of its frame are; what does not fit into one message goes into several."""
    one, two = nodes
    sizes = (1, 1_048_576, 700_000, 700_000, 2)
    outcomes = await asyncio.gather(*(one.publish("lobby", bytes(size)) for size in sizes), return_exceptions=True)
    error = outcomes[1]
    assert isinstance(error, BackplaneDownError)
    assert "1048576 bytes is above the engine's limit" in str(error)
    await until(lambda: len(two.heard()) == 4)
    assert [len(payload) for payload in two.heard()] == [1, 700_000, 700_000, 2]


async def test_a_channel_of_which_the_stream_has_nothing_any_more(engine: NatsEngine, nodes: tuple[Node, Node]) -> None:
    """It begins another epoch, which all nodes hear of: its offsets would be given twice."""
    one, two = nodes
    before = await one.publish("lobby", b"before")
    await two.has(before)
    async with engine.server.link() as link:
        await api(link, f"STREAM.PURGE.{await engine.stream(link)}")
    after = await one.publish("lobby", b"after")
    await two.has(after)
    assert (after.offset, after.epoch != before.epoch) == (1, True)
    assert two.heard() == [b"before", b"after"]
    assert [gap.epoch for gap in two.gaps()] == [after.epoch]


async def test_what_nobody_waits_for_is_not_sent(engine: NatsEngine, nodes: tuple[Node, Node]) -> None:
    """Unless it was sent before that: then it may have been published, and it is once at most."""
    one, two = nodes
    await engine.stall(stalled=True)
    sent = one.publish("lobby", b"sent")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    kept = one.publish("lobby", b"kept")
    other = one.publish("other", b"other")
    outcomes = await asyncio.gather(sent, kept, other, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnconfirmedError, BackplaneDownError, BackplaneDownError]
    await engine.stall(stalled=False)
    last = await one.publish("lobby", b"last")
    await two.has(last)
    assert two.heard() in ([b"last"], [b"sent", b"last"])

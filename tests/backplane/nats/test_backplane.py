"""What can happen to an engine, and what its nodes are told then."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from fanwise.backplane.nats.backplane import NatsBackplane
from fanwise.backplane.nats.dial import api
from fanwise.backplane.options import Options
from fanwise.backplane.urls import backplane_from
from fanwise.core.publication import Position
from fanwise.errors import SettingsError

from ...support.backplanes import Node
from ...support.live import until
from ...support.nats import NatsEngine, NatsServer, nats_server

pytestmark = pytest.mark.anyio


@pytest.fixture
def alone() -> Iterator[NatsServer]:
    """A server that no other test needs."""
    with nats_server() as server:
        yield server


async def test_a_server_that_comes_late_and_restarts(alone: NatsServer) -> None:
    """It is waited for; after a restart, positions are void unless its data is durable."""
    await alone.ready()
    kept, lost = NatsEngine(alone, "kept", durable=True), NatsEngine(alone, "lost")
    alone.kill()
    backplanes = [engine.backplane() for engine in (kept, lost)]
    async with Node(backplanes[0]) as one, Node(backplanes[1]) as two:
        assert not one.backplane.standing().up
        assert "refused" in one.backplane.standing().why
        alone.restart()
        await alone.ready()
        for node in (one, two):
            await node.open("lobby")
            await node.has(await node.publish("lobby", b"before"))  # it is acknowledged first, and heard afterwards
        alone.restart()
        await alone.ready()
        positions = [await node.publish("lobby", b"after") for node in (one, two)]
        for node, position in zip((one, two), positions, strict=True):
            await node.has(position)
            assert node.heard() == [b"before", b"after"]
        assert (one.interruptions, one.gaps()) == (0, [])
        assert (two.interruptions, [gap.epoch for gap in two.gaps()]) == (1, [positions[1].epoch])


async def test_durable_data_that_was_not(alone: NatsServer) -> None:
    """The newest publications are gone, and others stand in their place: what nodes have heard tells it."""
    engine = NatsEngine(alone, "p", durable=True)
    await alone.ready()
    async with Node(engine.backplane()) as one:
        await one.open("lobby")
        await one.publish("lobby", b"kept")
        alone.kill()
        shutil.copytree(alone.folder / "store", alone.folder / "copy")
        alone.restart()
        before = await one.publish("lobby", b"lost")
        await one.has(before)
        alone.kill()
        shutil.rmtree(alone.folder / "store")
        (alone.folder / "copy").rename(alone.folder / "store")
        alone.restart()
        async with Node(engine.backplane()) as two:  # it may be faster, and know nothing
            await two.open("lobby")
            await two.publish("lobby", b"other")
            await until(lambda: one.interruptions > 0)
            after = await one.publish("lobby", b"after")
            for node in (one, two):
                await node.has(after)
                assert node.heard()[-1] == b"after"
        assert after.epoch != before.epoch
        assert one.heard()[:2] == [b"kept", b"lost"]
        assert one.gaps()[-1].epoch == after.epoch


async def test_a_stream_that_is_deleted(engine: NatsEngine) -> None:
    """Also if nobody publishes: the check finds it. One node begins anew, and all hear of it."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two, engine.server.link() as link:
        for node in (one, two):
            await node.open("lobby")
        before = await one.publish("lobby", b"before")
        await two.has(before)
        await api(link, f"STREAM.DELETE.{await engine.stream(link)}")
        await until(lambda: one.interruptions == two.interruptions == 1)
        after = await two.publish("lobby", b"after")
        for node in (one, two):
            await node.has(after)
            assert node.heard() == [b"before", b"after"]
        assert after.epoch != before.epoch


async def test_a_stream_that_is_purged(engine: NatsEngine) -> None:
    """While a node is behind: it is told, even if nothing is published any more."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two, engine.server.link() as link:
        for node in (one, two):
            await node.open("lobby")
        two.held = True
        for number in range(3):
            await one.publish("lobby", b"%d" % number)
        await api(link, f"STREAM.PURGE.{await engine.stream(link)}")
        engine.cut(two.backplane)
        two.held = False
        two.backplane.go_on()
        await until(lambda: two.interruptions == 1)
        last = await one.publish("lobby", b"last")
        await two.has(last)
        assert two.heard()[-1] == b"last"
        assert two.gaps()


async def test_a_consumer_that_is_gone(engine: NatsEngine) -> None:
    """The check finds what was not delivered, and nothing is missing."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two, engine.server.link() as link:
        for node in (one, two):
            await node.open("lobby")
        stream = await engine.stream(link)
        for consumer in (await api(link, f"CONSUMER.NAMES.{stream}"))["consumers"]:
            await api(link, f"CONSUMER.DELETE.{stream}.{consumer}")
        last = await one.publish("lobby", b"a")
        for node in (one, two):
            await node.has(last)
            assert (node.heard(), node.interruptions, node.gaps()) == ([b"a"], 0, [])


async def test_channels_with_clients_are_kept(engine: NatsEngine) -> None:
    """A message that is old is followed by one that says the same; nobody notices, and histories stay."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two, engine.server.link() as link:
        for node in (one, two):
            await node.open("lobby")
        first = await one.publish("lobby", b"first")
        assert isinstance(one.backplane, NatsBackplane)
        await one.backplane._keep_channels(seconds=3600)
        await one.backplane._keep_channels(seconds=-3600)
        assert (await api(link, f"STREAM.INFO.{await engine.stream(link)}"))["state"]["last_seq"] == 3
        second = await two.publish("lobby", b"second")
        assert (second.epoch, second.offset) == (first.epoch, 2)
        for node in (one, two):
            await node.has(second)
            assert (node.heard(), node.gaps(), node.interruptions) == ([b"first", b"second"], [], 0)
        again = await one.open("lobby", Position("none", 0))
        assert [one.payload for one in again.publications] == [b"first", b"second"]


async def test_a_server_that_hangs(engine: NatsEngine) -> None:
    """It is not up, until it answers again."""
    async with Node(engine.backplane()) as node:
        assert node.backplane.standing().engine.startswith("nats-server 2.")
        await engine.stall(stalled=True)
        await until(lambda: not node.backplane.standing().up)
        assert node.backplane.standing().why
        await engine.stall(stalled=False)
        await until(lambda: node.backplane.standing().up)
        assert node.backplane.standing().silent_seconds < 2


@pytest.mark.parametrize(
    ("user", "login", "problem"),
    [
        ("user: app, password: word", "app:other@", "Authorization Violation"),
        ("user: app, password: word, permissions: { publish: p.> }", "app:word@", "Permissions Violation for Publish"),
        ("user: app, password: word", "app:word@", "JetStream not enabled for account"),
    ],
)
async def test_a_server_that_refuses(user: str, login: str, problem: str) -> None:
    """It is said at once; trying again would not help."""
    with nats_server(f"accounts {{ A {{ users: [ {{ {user} }} ] }} }}", login=login) as server:
        await server.ready()
        backplane: Any = backplane_from(server.url, Options())
        with pytest.raises(SettingsError, match=problem) as caught:
            await backplane.start(Node(backplane))
        assert "word" not in str(caught.value)
        await backplane.stop()

from __future__ import annotations

import json
from typing import Any

import pytest

from fanwise import User
from fanwise.broadcaster import announcer as module
from fanwise.broadcaster.client import Client
from fanwise.broadcaster.node import Node
from fanwise.core.dialect import JSON, PLAIN
from fanwise.core.reasons import CloseReason

from ..support.fakes import AwaitedSink, FakeSink
from ..support.live import until

pytestmark = pytest.mark.anyio


def heard(sink: FakeSink | AwaitedSink) -> list[dict[str, Any]]:
    """What a client was sent of presence."""
    data = b"".join(sink.sent if isinstance(sink, AwaitedSink) else sink.written)
    texts = [b'{"op"' + part for part in data.split(b'{"op"')[1:]]
    events = [json.loads(text[: text.rindex(b"}") + 1]) for text in texts]
    return [event for event in events if event["op"] in ("join", "leave", "presence_gap")]


def watch(node: Node, sink: FakeSink | AwaitedSink) -> Client:
    client = node.add_client(sink, channel="a", dialect=JSON)
    node.presence.watch(client, "a")
    return client


def come(node: Node, name: str, info: object = None) -> Client:
    return node.add_client(FakeSink(), channel="a", dialect=PLAIN, user=User(name, info))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BETWEEN_SECONDS", 0.01)
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.02)


@pytest.mark.parametrize("kind", [FakeSink, AwaitedSink])
async def test_watchers_hear_who_comes_and_goes(kind: type[FakeSink | AwaitedSink]) -> None:
    """In one write for all that has changed; others on the channel hear nothing."""
    async with Node() as node:
        sink, other = kind(), FakeSink()
        watch(node, sink)
        node.add_client(other, channel="a", dialect=JSON)
        clients = [come(node, name, {"n": 1}) for name in ("ada", "bob", "ada")]
        await until(lambda: len(heard(sink)) == 2)
        assert heard(sink)[0] == {"op": "join", "channel": "a", "id": "ada", "info": {"n": 1}}
        for client in clients:
            client.close()
        await until(lambda: len(heard(sink)) == 4)
        assert heard(sink)[2:] == [{"op": "leave", "channel": "a", "id": name} for name in ("bob", "ada")]
        assert heard(other) == []
        if isinstance(sink, FakeSink):
            assert len(sink.written) == 3  # `subscribed`, and two batches


async def test_a_client_that_does_not_read_is_sent_nothing() -> None:
    """What waits for it does not grow. When it reads again it hears that it has missed something, and then the rest."""
    async with Node() as node:
        slow, quick = FakeSink(), FakeSink()
        watch(node, slow)
        watch(node, quick)
        slow.pause()
        for number in range(5):
            come(node, f"user-{number}")
            await until(lambda seen=number: len(heard(quick)) == seen + 1)  # type: ignore[misc]
        assert heard(slow) == []
        slow.resume()
        await until(lambda: bool(heard(slow)))
        assert heard(slow) == [{"op": "presence_gap", "channel": "a", "users": 5}]
        come(node, "ada")
        await until(lambda: len(heard(slow)) == 2)
        assert heard(slow)[1]["id"] == "ada"
        assert node.presence.rosters["a"].missed == set()


async def test_a_batch_has_a_bound() -> None:
    """Also in sum: the more there are who watch, the less is each told."""
    async with Node() as node:
        sink = FakeSink()
        watch(node, sink)
        for number in range(20):
            come(node, f"user-{number}", "x" * 1000)
        await until(lambda: bool(heard(sink)))
        assert heard(sink) == [{"op": "presence_gap", "channel": "a", "users": 20}]


async def test_a_client_that_cannot_be_sent_to_ends_alone() -> None:
    """The others hear all the same."""

    class Broken(FakeSink):
        def write(self, data: bytes | memoryview) -> None:
            if b"join" in bytes(data):
                raise RuntimeError("a mistake")

    async with Node() as node:
        sink = FakeSink()
        client = watch(node, Broken())
        watch(node, sink)
        come(node, "ada")
        await until(lambda: len(heard(sink)) == 1)
        assert client.reason is CloseReason.INTERNAL


async def test_nothing_is_left_to_do() -> None:
    """When all is told, and at the end."""
    async with Node() as node:
        sink = FakeSink()
        watch(node, sink)
        come(node, "ada")
        await until(lambda: node.presence._announcer._task is None)
        assert len(heard(sink)) == 1
        come(node, "bob")
    assert node.presence._announcer._task is None

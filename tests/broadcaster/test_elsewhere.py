from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from fanwise import Broadcaster, User
from fanwise.backplane.memory import MemoryEngine
from fanwise.broadcaster import announcer
from fanwise.broadcaster import elsewhere as module
from fanwise.broadcaster.client import Client
from fanwise.broadcaster.elsewhere import Elsewhere
from fanwise.core.dialect import JSON
from fanwise.embedding import SharedBroadcaster

from ..support.fakes import FakeSink
from ..support.live import until
from ..support.patience import impatient, patient
from .test_announcer import heard

pytestmark = pytest.mark.anyio

ADA, BOB = User("ada", {"n": 1}), User("bob")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    patient(monkeypatch)
    monkeypatch.setattr(announcer, "BETWEEN_SECONDS", 0.01)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)


@asynccontextmanager
async def workers(engine: MemoryEngine, count: int = 2) -> AsyncIterator[list[SharedBroadcaster]]:
    nodes = [Broadcaster(backplane=engine.backplane(), trim_heap=False) for _ in range(count)]
    async with nodes[0], nodes[1], nodes[-1]:
        await until(lambda: len(engine.room.listed()) == count)
        yield [node for node in nodes if isinstance(node, SharedBroadcaster)]


async def enter(node: Broadcaster, user: User | None, *, sink: FakeSink | None = None) -> Client:
    client = node.add_client(sink or FakeSink(), dialect=JSON, user=user)
    await node.subscribe_in_turn(client, "a")
    if sink is not None:
        node.presence.watch(client, "a")
    return client


async def agreed(node: SharedBroadcaster, *others: SharedBroadcaster) -> None:
    """Waits until the users of other workers are known."""
    elsewhere = node.presence.others
    assert isinstance(elsewhere, Elsewhere)
    names = {other.survey.worker for other in others}
    await until(lambda: elsewhere._seen.keys() == names and not elsewhere._to_agree)


def events(sink: FakeSink) -> list[tuple[Any, ...]]:
    return [(event["op"], event.get("id", event.get("users"))) for event in heard(sink)]


async def test_users_of_all_workers_are_one_list() -> None:
    """Each user once, clients added; asked on any worker, and no channel is opened for that."""
    async with workers(MemoryEngine(), 3) as nodes:
        await enter(nodes[0], ADA)
        await enter(nodes[1], ADA)
        await enter(nodes[1], BOB)
        await enter(nodes[1], None)
        for node in nodes:
            found = await node.presence("a")
            assert (found.clients, found.users, found.truncated) == (4, 2, False)
            assert sorted(found.members, key=lambda user: user.id) == [ADA, BOB]
            assert await node.presence("a", limit=1) == ("a", 4, 2, found.members[:1], True)
            assert await node.presence("b") == ("b", 0, 0, [], False)
        assert nodes[2].inspect.channel("a") is None


async def test_a_user_on_two_workers_comes_once_and_leaves_with_the_last() -> None:
    """Events are of all workers."""
    async with workers(MemoryEngine()) as (one, two):
        sink = FakeSink()
        await enter(one, None, sink=sink)
        await agreed(one, two)
        here = await enter(one, ADA)
        there = await enter(two, ADA)
        bob = await enter(two, BOB)
        await until(lambda: len(heard(sink)) == 2)
        assert events(sink) == [("join", "ada"), ("join", "bob")]
        here.close()
        bob.close()
        await until(lambda: len(heard(sink)) == 3)
        there.close()
        await until(lambda: len(heard(sink)) == 4)
        assert events(sink)[2:] == [("leave", "bob"), ("leave", "ada")]


async def test_users_that_were_there_before_are_told_of_as_a_gap() -> None:
    """The first who watches may have asked before they came."""
    async with workers(MemoryEngine()) as (one, two):
        await enter(two, ADA)
        sink = FakeSink()
        await enter(one, None, sink=sink)
        await until(lambda: bool(heard(sink)))
        assert events(sink) == [("presence_gap", 1)]


async def test_users_of_a_worker_that_is_gone_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the worker is listed no more. Who is also elsewhere stays."""
    engine = MemoryEngine()
    async with workers(engine, 3) as (one, two, three):
        sink = FakeSink()
        await enter(one, None, sink=sink)
        await agreed(one, two, three)
        for node, user in ((two, ADA), (three, ADA), (three, BOB)):
            await enter(node, user)
        await until(lambda: len(heard(sink)) == 2)
        gone = three.survey.worker
        engine.room.deaf.add(gone)
        engine.room.members.pop(gone)
        engine.room.cards.pop(gone)
        monkeypatch.setattr(three.survey._fleet, "announce", lambda _card: None)
        await until(lambda: len(heard(sink)) == 3)
        assert events(sink)[2] == ("leave", "bob")
        assert (await one.presence("a")).members == [ADA]


async def test_who_does_not_answer_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer says that it is not complete; and one that is not understood is left out as well."""
    engine = MemoryEngine()
    async with workers(engine, 3) as (one, two, three):

        async def wrong(*_: object) -> bytes:
            return b'{"clients":"many"}\n["eve"]'

        three.answers["presence"] = wrong
        await enter(one, ADA)
        await enter(two, BOB)
        found = await one.presence("a")
        assert (found.clients, found.users, found.truncated) == (2, 2, True)
        impatient(monkeypatch)
        engine.room.deaf.add(two.survey.worker)
        assert await one.presence("a") == ("a", 1, 1, [ADA], True)


async def test_a_worker_that_was_not_heard_is_asked_for_all() -> None:
    """Its journal ended, or it could not answer: what has changed meanwhile is told as a gap."""
    async with workers(MemoryEngine()) as (one, two):
        sink = FakeSink()
        await enter(one, None, sink=sink)
        await agreed(one, two)
        two.presence._journal = None
        two.presence._number += 10
        await enter(two, ADA)
        await until(lambda: bool(heard(sink)))
        assert events(sink) == [("presence_gap", 1)]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"[",
        b'{"number":"x"}',
        b'{"number":1,"known":true}\n["a"]\n3\n["a",7,null]\n[{},[],[]]\n["a","x"]',
    ],
)
async def test_answers_of_another_version_change_nothing(answer: bytes) -> None:
    """Whatever they are."""
    async with workers(MemoryEngine()) as (one, two):
        asked = asyncio.Event()

        async def changes(*_: object) -> bytes:
            asked.set()
            return answer

        two.answers["presence_changes"] = changes
        sink = FakeSink()
        await enter(one, None, sink=sink)
        for _ in range(2):
            asked.clear()
            await asked.wait()
        assert events(sink) == []
        assert one.presence.others is not None


async def test_questions_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it this worker answers alone, and says so."""
    monkeypatch.setattr(module, "_MOST_WAITING", 2)
    async with workers(MemoryEngine()) as (one, two):
        await enter(two, ADA)
        found = await asyncio.gather(*(one.presence("a") for _ in range(5)))
        assert sorted((each.users, each.truncated) for each in found) == [(0, True)] * 3 + [(1, False)] * 2


async def test_nobody_is_asked_while_nobody_watches() -> None:
    """The question comes with the first watcher, and ends with the last."""
    async with workers(MemoryEngine()) as (one, two):
        elsewhere = one.presence.others
        assert isinstance(elsewhere, Elsewhere)
        await enter(two, ADA)
        assert elsewhere._task is None
        client = await enter(one, None, sink=FakeSink())
        await agreed(one, two)
        client.close()
        await until(lambda: elsewhere._task is None)
        assert (elsewhere._seen, elsewhere._workers, one.presence.rosters) == ({}, set(), {})


async def test_many_channels_are_asked_for_a_few_at_a_time() -> None:
    """A question has 4 KiB."""
    asked: list[int] = []
    async with workers(MemoryEngine()) as (one, two):
        answer = two.answers["presence_users"]

        async def users(parameters: Any, most_bytes: int) -> bytes:
            asked.append(len(parameters["channels"]))
            return await answer(parameters, most_bytes)

        two.answers["presence_users"] = users
        sink = FakeSink()
        client = one.add_client(sink, dialect=JSON)
        for number in range(20):
            await one.subscribe_in_turn(client, f"{number:04}{'x' * 200}")
            one.presence.watch(client, f"{number:04}{'x' * 200}")
        await until(lambda: sum(asked) >= 20 and len(asked) > 1)
        await agreed(one, two)
        assert max(asked) < 20
        assert len(orjson.dumps("x" * 204)) * max(asked) < 4_096
        client.close()

"""The clients on a real server that asks for tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanwise.client import FanwiseClient, Join, Leave, Member, State, SyncClient
from fanwise.client.errors import RefusedError, SubscribeError

from ..conftest import COMMAND
from ..support.commands import run
from ..support.live import until
from ..support.minted import ASKING, minted
from ..support.processes import ServerProcess

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """Each test has channels of its own."""
    process = ServerProcess(*COMMAND, **ASKING)
    yield process
    process.close()


def client_of(server: ServerProcess, user: str = "ann", **options: Any) -> FanwiseClient:
    given = {"token": lambda: minted(user=user), "proxy": None, "backoff_base_seconds": 0.01}
    return FanwiseClient(server.url("/ws"), **{**given, **options})


async def test_tokens_that_end(server: ServerProcess) -> None:
    """One is renewed in time, and the connection lives; one is not, and the stream goes on behind 4013."""
    calls: list[str] = []
    gaps: list[object] = []

    def renew() -> str:
        calls.append("renew")
        return minted(2 if calls.count("renew") == 1 else 600)

    def replace() -> str:
        if second.state is State.CONNECTED:
            raise LookupError("the desk is closed")
        calls.append("replace")
        return minted(1.2 if calls.count("replace") == 1 else 600)

    first = client_of(server, token=renew, on_gap=gaps.append)
    second = client_of(server, token=replace, on_gap=gaps.append, backoff_base_seconds=0.2, random=lambda: 0.9)
    async with client_of(server) as publisher, first, second:
        for client in (first, second):
            await client.subscribe("ending")
        await publisher.publish_many("ending", range(3))
        await until(lambda: second.state is not State.CONNECTED)
        await publisher.publish_many("ending", range(3, 6))
        await until(lambda: calls.count("renew") == calls.count("replace") == 2)
        await publisher.publish_many("ending", range(6, 9))
        for client in (first, second):
            assert [(await anext(client)).data for _ in range(9)] == [*range(9)]
        assert gaps == []
        assert first._down.last_failure == ""
        assert "4013" in second._down.last_failure


async def test_what_a_token_does_not_allow(server: ServerProcess) -> None:
    """A channel, and a connection without one; a right that a new token takes away ends the subscription."""
    tokens = iter([minted(subscribe=["a*"]), minted(subscribe=["b*"])])
    async with client_of(server, token=lambda: next(tokens)) as client:
        with pytest.raises(SubscribeError, match="forbidden"):
            await client.subscribe("b")
        await client.subscribe("a")
        client._tokens.discard()  # type: ignore[union-attr]
        asking = asyncio.create_task(client.publish("c", 1))  # whose connection takes the other token
        with pytest.raises(SubscribeError, match="no right to it any more"):
            await anext(client)
        await asking
    async with client_of(server, token=minted(-60)) as client:
        with pytest.raises(RefusedError, match="401"):
            await client.subscribe("a")


async def test_who_is_there(server: ServerProcess) -> None:
    """Users with their info; those who come and leave are told."""
    seen: list[object] = []
    async with client_of(server, on_presence=seen.append) as ann, client_of(server, user="bob") as bob:
        await ann.subscribe("room", presence=True)
        await bob.subscribe("room")
        there = await ann.presence("room")
        assert (there.clients, there.users, there.truncated) == (2, 2, False)
        assert sorted(there.members, key=lambda member: member.id) == [
            Member("ann", {"name": "ann"}),
            Member("bob", {"name": "bob"}),
        ]
        reading = asyncio.create_task(anext(ann))
        await until(lambda: Join("room", "bob", {"name": "bob"}) in seen)
        await bob.unsubscribe("room")
        await until(lambda: Leave("room", "bob") in seen)
        reading.cancel()


def test_without_an_event_loop(server: ServerProcess) -> None:
    """The synchronous client brings tokens too, and sees who is there."""
    with SyncClient(server.url("/ws"), token=minted, proxy=None) as client:
        messages = client.subscribe("sync", timeout_seconds=5.0)
        client.publish("sync", 1)
        assert next(messages).data == 1
        assert client.presence("sync").members == (Member("ann", {"name": "ann"}),)


def test_tags_and_where_a_stream_begins(server: ServerProcess, tmp_path: Path) -> None:
    """The last messages that a filter lets through, in Python and in the commands, without a gap."""
    gaps: list[object] = []
    path = tmp_path / "token"
    path.write_text(minted())
    with SyncClient(server.url("/ws"), token=minted, proxy=None, on_gap=gaps.append) as client:
        client.publish_many("tags", [1, 2, 3], tags={"s": "EUR"})
        assert run(server, "publish", "tags", "4", "--tag", "s:USD", "--token", f"@{path}").returncode == 0
        client.publish("tags", 5)
        with client.subscribe("tags", last=2, filter={"s": "EUR"}) as messages:
            assert [(one.data, one.tags) for one in (next(messages), next(messages))] == [
                (2, {"s": "EUR"}),
                (3, {"s": "EUR"}),
            ]
        with client.subscribe("tags", last=2) as messages:
            assert [next(messages).data, next(messages).data] == ["4", 5]
        assert gaps == []
    wanted = ["--last", "2", "--filter", "s:EUR", "--filter", "s:USD", "--count", "2"]
    done = run(server, "subscribe", "tags", *wanted, "--token", f"@{path}")
    assert (done.returncode, done.stdout) == (0, "3\n4\n")


def test_the_commands(server: ServerProcess, tmp_path: Path) -> None:
    """A token from the environment, from a file, and from the command line, which is warned of; and none."""
    path = tmp_path / "token"
    path.write_text(minted() + "\n")
    first = run(server, "publish", "cli", "1", FANWISE_TOKEN=minted())
    second = run(server, "publish", "cli", "2", "--token", f"@{path}")
    third = run(server, "publish", "cli", "3", "--token", minted())
    assert [done.returncode for done in (first, second, third)] == [0, 0, 0]
    assert ["list of processes" in done.stderr for done in (first, second, third)] == [False, False, True]
    nobody = run(server, "publish", "cli", "4", "--token", minted(-60))
    assert nobody.returncode == 1
    assert "refused with status 401" in nobody.stderr

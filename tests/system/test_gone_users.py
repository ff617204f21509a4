from __future__ import annotations

from collections.abc import Iterator

import pytest

from fanwise.backplane.port import CARD_SECONDS
from fanwise.broadcaster.announcer import BETWEEN_SECONDS
from fanwise.broadcaster.elsewhere import POLL_SECONDS
from fanwise.broadcaster.survey import ASK_SECONDS

from ..support.live import until
from ..support.processes import ServerProcess
from .gone_users import MOST_SECONDS, ROOM, Room, serving, talk_as, workers

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    server = serving()
    yield server
    server.close()


async def test_users_of_a_killed_worker_leave(server: ServerProcess) -> None:
    """One `leave` each, heard on the other worker, whose users stay; the worker in its place is heard of too."""
    await until(lambda: server.log.count(" takes clients on ") == 2)
    room = Room(server)
    async with room.open():
        joined = {user for _, op, user in room.heard if op == "join"}
        assert joined <= room.users.keys()
        assert list(room.users)[-1] in joined  # a gap stands for the first ones, until the workers know each other
        await room.kill()
        assert sorted(user for _, op, user in room.heard if op == "leave") == sorted(room.of_victim())
        await until(lambda: server.log.count(" takes clients on ") == 3 and len(workers(server)) == 2)
        for user in room.of_victim():
            del room.users[user]
        await room.fill()
        async with await talk_as(server, "asks") as talk:
            found = await talk.ask(op="presence", channel=ROOM)
        assert {one["id"] for one in found["members"]} == {"watcher", *room.users}


def test_users_of_a_dead_worker_leave_within_10_seconds() -> None:
    """A card expires, the next question is asked and answered, and the watchers are told."""
    assert CARD_SECONDS + POLL_SECONDS + ASK_SECONDS + BETWEEN_SECONDS <= 0.8 * MOST_SECONDS

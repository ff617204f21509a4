"""Prints how soon the users of a killed worker leave, as somebody on the other worker hears it.

    python -m tests.system.gone_users --runs 5

Each run has 6 users on a worker of `fanwise serve --workers 2`, which SIGKILL ends, and 2 on that of the watcher. The
exit status is 1 if users have left later than after 10 s, or if others have left.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from fanwise.backplane.workers.siblings import _processes_of

from ..support.live import Talk, until
from ..support.minted import ASKING, minted
from ..support.processes import ServerProcess

MOST_SECONDS = 10.0
COMMAND = ("-m", "tests.support.launched", "serve", "--workers", "2", "--port", "{port}")
ROOM = "room"
GONE, STAYING = 6, 2  # users of the worker that is killed, and of the other one


def serving(port: int | None = None) -> ServerProcess:
    """A server with two workers whose users are those of tokens."""
    return ServerProcess(*COMMAND, port=port, **ASKING)


def workers(server: ServerProcess) -> set[int]:
    """The process ids of the workers."""
    found = set()
    for pid in _processes_of(server.pid):
        with contextlib.suppress(OSError):
            if b"-server" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
                found.add(pid)
    return found


def worker_of(server: ServerProcess, talk: Talk) -> int:
    """The process id of the worker at the other end of a connection."""
    ours = talk.websocket.local_address[1]
    for pid in workers(server):
        for one in psutil.Process(pid).net_connections("tcp4"):
            if one.raddr and one.raddr.port == ours:
                return pid
    raise LookupError(f"no worker has a connection from port {ours}")


async def talk_as(server: ServerProcess, user: str) -> Talk:
    """A connection of a user."""
    given = {"Authorization": f"Bearer {minted(user=user)}"}
    offers = [Subprotocol("fanwise.v1")]
    talk = Talk(await connect(server.url("/ws"), subprotocols=offers, additional_headers=given, proxy=None))
    talk.welcome = await talk.hear()
    return talk


class Room:
    """A channel of which a watcher hears who comes and goes, with users on both workers."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.users: dict[str, tuple[Talk, int]] = {}  # {id: connection, process id of its worker}
        self.heard: list[tuple[float, str, str]] = []  # time, op, user
        self.watched_by = 0
        self._numbers = itertools.count()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Has the watcher listen while the context lasts."""
        async with contextlib.AsyncExitStack() as self._stack:
            watcher = await self._stack.enter_async_context(await talk_as(self.server, "watcher"))
            self.watched_by = worker_of(self.server, watcher)
            await watcher.ask(op="subscribe", channel=ROOM, presence=True)
            listening = asyncio.create_task(self._listen(watcher))
            await self.fill()
            yield
            listening.cancel()

    async def _listen(self, watcher: Talk) -> None:
        while True:
            heard = await watcher.hear()
            self.heard.append((time.monotonic(), heard["op"], heard.get("id", "")))

    async def fill(self) -> None:
        """Has users come, one after the other, until there are enough on each worker. Each of them is heard of."""
        while any(self._missing().values()):
            user = f"u{next(self._numbers)}"
            talk = await talk_as(self.server, user)
            place = worker_of(self.server, talk)
            if not self._missing()[place == self.watched_by]:
                await talk.websocket.close()
                continue
            await self._stack.enter_async_context(talk)
            self.users[user] = talk, place
            before = len(self.heard)
            await talk.ask(op="subscribe", channel=ROOM)
            await until(lambda before=before: len(self.heard) > before)  # type: ignore[misc]

    def _missing(self) -> dict[bool, int]:
        """{whether beside the watcher: how many users}."""
        here = sum(place == self.watched_by for _, place in self.users.values())
        return {True: STAYING - here, False: GONE - (len(self.users) - here)}

    def of_victim(self) -> set[str]:
        """The users of the worker without the watcher."""
        return {user for user, (_, place) in self.users.items() if place != self.watched_by}

    async def kill(self) -> float:
        """Kills that worker; returns after how many seconds the last of its users has left."""
        (victim,) = {place for _, place in self.users.values()} - {self.watched_by}
        expected, began = self.of_victim(), time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await until(lambda: self.left() >= expected)
        return max(at for at, op, user in self.heard if op == "leave" and user in expected) - began

    def left(self) -> set[str]:
        """The users that have left."""
        return {user for _, op, user in self.heard if op == "leave"}


async def run(server: ServerProcess) -> tuple[float, bool]:
    """One run: after how long the users have left, and whether nobody else has."""
    ready = server.log.count(" takes clients on ")
    await until(lambda: len(workers(server)) == 2)
    room = Room(server)
    async with room.open():
        seconds = await room.kill()
        right = room.left() == room.of_victim()
        await until(lambda: server.log.count(" takes clients on ") > ready)  # the next one in its place
    return seconds, right


async def main(runs: int, port: int | None) -> int:
    """Prints each run; returns the exit status."""
    server, good = serving(port), True
    try:
        await until(lambda: server.log.count(" takes clients on ") == 2)
        for number in range(1, runs + 1):
            seconds, right = await run(server)
            good = good and right and seconds <= MOST_SECONDS
            sys.stdout.write(
                f"run {number}: {GONE} users have left {seconds:.2f} s after SIGKILL{'' if right else ', AND OTHERS'}\n"
            )
    finally:
        server.close()
    return 0 if good else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--port", type=int)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.runs, given.port)))

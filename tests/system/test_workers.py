"""`fanwise serve --workers 2`, as a user runs it: workers are killed, replaced and stopped under clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fanwise.backplane.workers.siblings import _processes_of
from fanwise.client import FanwiseClient

from ..support.live import until
from ..support.processes import ServerProcess

pytestmark = pytest.mark.anyio
COMMAND = ("-m", "tests.support.launched", "serve", "--workers", "2", "--port", "{port}")
CLIENTS = 10  # all on one of two workers in one run of 500


def children(server: ServerProcess) -> dict[str, set[int]]:
    """{"workers", "engines": their process ids}."""
    found: dict[str, set[int]] = {"workers": set(), "engines": set()}
    for pid in _processes_of(server.pid):
        with contextlib.suppress(OSError):
            engine = b"-server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
            found["engines" if engine else "workers"].add(pid)
    return found


def started(server: ServerProcess) -> int:
    """How many workers have begun to take clients."""
    return server.log.count(" takes clients on ")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    server = ServerProcess(*COMMAND, FANWISE_DRAIN_SECONDS="0.5", FANWISE_MAX_CLIENTS="500")
    yield server
    server.close()


async def request(server: ServerProcess, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """The status and the body of an answer; status 0: the connection was reset."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(head.encode() + body)
        answer = await reader.read()
    except ConnectionError:
        return 0, b""
    finally:
        writer.close()
    return int(answer[9:12] or 0), answer.partition(b"\r\n\r\n")[2]


class Load:
    """Clients that listen, and a publisher that publishes numbers one after the other over HTTP."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.acked: list[str] = []
        self.seen: list[list[str]] = [[] for _ in range(CLIENTS)]
        self.gaps: list[object] = []
        self._stop = asyncio.Event()

    async def publish(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            with contextlib.suppress(ConnectionRefusedError):
                status, _ = await request(self.server, "POST", "/publish/lobby", str(number).encode())
                if status // 100 == 2:
                    self.acked.append(str(number))

    async def listen(self, client: FanwiseClient, seen: list[str]) -> None:
        async for message in client:
            seen.append(str(message.data))  # noqa: PERF401 - others look at it meanwhile

    async def all_have(self, count: int) -> None:
        """Returns when `count` more were acknowledged, and all clients have them."""
        until_then = len(self.acked) + count
        await until(lambda: len(self.acked) >= until_then)
        last = self.acked[until_then - 1]
        await until(lambda: all(last in seen for seen in self.seen))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            tasks = []
            for seen in self.seen:
                client = await stack.enter_async_context(
                    FanwiseClient(self.server.url("/ws"), on_gap=self.gaps.append, backoff_cap_seconds=0.5, proxy=None)
                )
                await client.subscribe("lobby")
                tasks.append(asyncio.create_task(self.listen(client, seen)))
            publishing = asyncio.create_task(self.publish())
            yield
            self._stop.set()
            await publishing
            for task in tasks:
                task.cancel()

    def check(self) -> None:
        """All that was acknowledged came to each client, once and in order, and nobody was told of a gap."""
        assert self.gaps == []
        for seen in self.seen:
            assert sorted(set(seen), key=int) == seen
            assert set(self.acked[: self.acked.index(seen[-1]) + 1]) <= set(seen)


async def test_a_worker_that_is_killed_loses_nothing(server: ServerProcess) -> None:
    """Its clients go on at the other one, and another worker takes its place."""
    await until(lambda: started(server) == 2)
    assert "  workers    2, each with these limits: together 1000 clients" in server.log
    load = Load(server)
    async with load.running():
        await load.all_have(5)
        victim = min(children(server)["workers"])
        os.kill(victim, signal.SIGKILL)
        await until(lambda: "was ended by SIGKILL" in server.log)
        await load.all_have(5)
        await until(lambda: started(server) == 3)
        await load.all_have(5)
    load.check()


async def test_sighup_replaces_all_and_loses_nothing(server: ServerProcess) -> None:
    """One after the other: no connection is refused, and clients come back to a worker that is there."""
    before = children(server)
    load = Load(server)
    async with load.running():
        await load.all_have(5)
        os.kill(server.pid, signal.SIGHUP)
        while " workers_replaced: " not in server.log:
            status, _ = await request(server, "GET", "/healthz")
            assert status == 200
        await load.all_have(5)
    load.check()
    after = children(server)
    assert len(after["workers"]) == 2
    assert not after["workers"] & before["workers"]
    assert after["engines"] == before["engines"]


async def test_sigterm_stops_all(server: ServerProcess) -> None:
    """In order, also when the terminal or a supervisor has sent it to the workers, too."""
    everybody = children(server)
    for pid in everybody["workers"]:
        os.kill(pid, signal.SIGTERM)
    server.terminate()
    assert await asyncio.to_thread(server.wait) == 0
    for pid in everybody["workers"] | everybody["engines"]:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert "Traceback" not in server.log


def test_a_launcher_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """Neither workers nor the engine."""
    server = ServerProcess(*COMMAND, TMPDIR=str(tmp_path))  # where the folder of the engine stays
    found = children(server)
    everybody = [os.pidfd_open(pid) for pid in found["workers"] | found["engines"]]
    assert len(everybody) == 3
    server.kill()
    for one in everybody:
        select.select([one], [], [])  # readable at its end (pidfd_open(2))
        os.close(one)
    server.close()

"""Slow, stalled and dead clients on real sockets: they are dropped, and they delay nobody."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fanwise import Broadcaster

from ..support.forks import Popen
from ..support.live import app_of, handshake, running, until
from ..support.pressure import ReadingClient, burst_publisher, slow_client, stalled_client, vanishing_client
from ..support.processes import ROOT, ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def closed(broadcaster: Broadcaster) -> dict[str, int]:
    return broadcaster.statistics().closed


@pytest.mark.parametrize("burst", [101, 1000, 10_000])
async def test_a_burst_drops_nobody_who_reads(burst: int) -> None:
    """With a queue of 100, to 20 clients: none of them is closed and none misses a message."""
    broadcaster = Broadcaster(queue_messages=100)
    async with running(app_of(broadcaster.router)) as live, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(ReadingClient.connected(live)) for _ in range(20)]
        await until(lambda: len(broadcaster) == 20)
        expected = await burst_publisher(broadcaster, "lobby", burst)
        await until(lambda: all(len(client.received) >= len(expected) for client in clients))
        assert all(client.received == expected for client in clients)
        assert closed(broadcaster) == {}


async def test_a_stalled_client_is_aborted_whatever_its_queue_says() -> None:
    """Within its bounds, but its connection takes nothing for `stall_seconds`; the others get each message."""
    broadcaster = Broadcaster(queue_messages=1_000_000, queue_bytes=1 << 28, stall_seconds=0.6)
    async with (
        running(app_of(broadcaster.router)) as live,
        stalled_client(live),
        ReadingClient.connected(live) as healthy,
    ):
        await until(lambda: len(broadcaster) == 2)
        expected = await burst_publisher(broadcaster, "lobby", 500, size=10_000)
        await until(lambda: closed(broadcaster) != {})
        assert closed(broadcaster) == {"stalled": 1}
        await until(lambda: len(healthy.received) == len(expected))
        assert healthy.received == expected


async def test_a_slow_client_that_moves_lives() -> None:
    """Longer than `stall_seconds`, as long as it takes something now and then and its queue is wide enough."""
    broadcaster = Broadcaster(queue_messages=1_000_000, queue_bytes=1 << 28, history_bytes=1 << 28, stall_seconds=0.6)
    async with running(app_of(broadcaster.router)) as live, slow_client(live, bytes_per_second=100_000) as received:
        await until(lambda: len(broadcaster) == 1)
        expected = await burst_publisher(broadcaster, "lobby", 100, size=10_000)
        await until(lambda: len(received) > 250_000)
        assert closed(broadcaster) == {}
        assert expected.startswith(bytes(received))


async def test_a_client_over_its_bounds_is_told_so() -> None:
    """4008, behind what it has still to read; and no other is closed."""
    broadcaster = Broadcaster(queue_messages=100)
    async with running(app_of(broadcaster.router)) as live, stalled_client(live) as sock, ReadingClient.connected(live):
        await until(lambda: len(broadcaster) == 2)
        await burst_publisher(broadcaster, "lobby", 500, size=10_000)
        await until(lambda: closed(broadcaster) != {})
        assert closed(broadcaster) == {"slow": 1}
        loop, got = asyncio.get_running_loop(), b""
        while not got.endswith(b"\x88\x1c" + (4008).to_bytes(2) + b"slow: the queue overflowed"):
            part = await loop.sock_recv(sock, 1 << 20)
            assert part, "the connection ended without a close frame"
            got = got[-100:] + part


@pytest.mark.parametrize("overflow", ["drop_oldest", "latest"])
async def test_a_client_whose_queue_may_overflow_lives(overflow: str) -> None:
    """It misses messages, which are counted, and gets the newest in order when it reads again."""
    broadcaster = Broadcaster(queue_messages=10, overflow=overflow)
    async with running(app_of(broadcaster.router)) as live, stalled_client(live) as sock:
        await until(lambda: len(broadcaster) == 1)
        for _ in range(3):
            await burst_publisher(broadcaster, "lobby", 1000, size=10_000)
            await asyncio.sleep(0)
        last = await broadcaster.publish("lobby", "the last one")
        loop, got = asyncio.get_running_loop(), b""
        while not got.endswith(b"the last one"):
            got += await loop.sock_recv(sock, 1 << 20)
        statistics = broadcaster.statistics()
        assert statistics.closed == {}
        (channel,) = statistics.channels
        assert channel.skipped > 0
        assert channel.skipped + channel.deliveries == last.offset


async def test_short_memory_takes_the_one_that_is_furthest_behind() -> None:
    """Before its queue or the clock would: logs take 3.6, 3 and 2.4 MB of payload."""
    broadcaster = Broadcaster(
        queue_messages=1_000_000,
        queue_bytes=4_000_000,
        history_bytes=4_000_000,
        stall_seconds=60,
        memory_bytes=8_000_000,
    )
    async with running(app_of(broadcaster.router)) as live, AsyncExitStack() as stack:
        healthy = await stack.enter_async_context(ReadingClient.connected(live, "/ws?channel=first"))
        for name in ("first", "second", "third"):
            await stack.enter_async_context(stalled_client(live, f"/ws?channel={name}"))
        await until(lambda: len(broadcaster) == 4)
        expected = await burst_publisher(broadcaster, "first", 60, size=60_000)
        await until(lambda: healthy.received == expected)
        await burst_publisher(broadcaster, "second", 50, size=60_000)
        await burst_publisher(broadcaster, "third", 40, size=60_000)
        await until(lambda: closed(broadcaster) != {})
        assert closed(broadcaster) == {"memory": 1}
        left = sorted(client.channels for client in broadcaster.statistics().clients)
        assert left == [("first",), ("second",), ("third",)]


@pytest.mark.parametrize("size", [4_000, 60_000])
async def test_a_burst_of_many_bytes_drops_nobody_who_reads(size: int) -> None:
    """20 MB, more than the kernel takes, to a client whose queue takes one, as fast as `publish` lets it."""
    broadcaster = Broadcaster()
    async with running(app_of(broadcaster.router)) as live, ReadingClient.connected(live) as client:
        await until(lambda: len(broadcaster) == 1)
        expected = await burst_publisher(broadcaster, "lobby", 20_000_000 // size, size=size)
        await until(lambda: len(client.received) >= len(expected))
        assert client.received == expected
        assert closed(broadcaster) == {}


async def test_everything_is_given_back() -> None:
    """After the stalled, the vanished and the aborted have left: clients, tasks, descriptors, channels, bytes."""
    broadcaster = Broadcaster(queue_messages=50, stall_seconds=0.5, history_seconds=0.01)
    async with running(app_of(broadcaster.router)) as live:
        before = (len(asyncio.all_tasks()), descriptors())
        async with AsyncExitStack() as stack:
            for _ in range(5):
                await stack.enter_async_context(stalled_client(live))
                await stack.enter_async_context(ReadingClient.connected(live))
                await vanishing_client(live)
            await until(lambda: len(broadcaster) == 10)
            await burst_publisher(broadcaster, "lobby", 500, size=10_000)
            await until(lambda: len(broadcaster) == 5)
        await until(lambda: not live.server.server_state.connections)
        await until(lambda: broadcaster.statistics().channels == ())
        await until(lambda: (len(asyncio.all_tasks()), descriptors()) == before)
        assert broadcaster.statistics().clients == ()
        assert not broadcaster._registry.behind
        assert broadcaster._host is not None
        assert not broadcaster._host.tasks
        assert not broadcaster._hub.retention.grown


SERVE = ("-m", "fanwise", "serve", "--port", "{port}")
READER = """
import sys
from websockets.sync.client import connect
with connect(sys.argv[1], max_size=None) as websocket:
    print("connected", flush=True)
    for number in range(int(sys.argv[2])):
        assert websocket.recv().startswith(f"Message: {number:08}"), number
print("complete", flush=True)
"""


def test_a_stopped_process_that_goes_on_loses_nothing(server_process: Callable[..., ServerProcess]) -> None:
    """Three seconds without reading, and the window covers what was published meanwhile."""
    server = server_process(*SERVE)
    url = server.url("/ws")
    with (
        Popen([sys.executable, "-c", READER, url, "400"], cwd=ROOT, stdout=subprocess.PIPE) as reader,
        connect(url, max_size=None) as publisher,
    ):
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"connected\n"
        reader.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        for number in range(400):
            publisher.send(f"{number:08}".ljust(2000, "x"))
            publisher.recv()
        assert time.monotonic() - begin < 3
        with pytest.raises(TimeoutError):
            publisher.recv(timeout=3 - (time.monotonic() - begin))
        reader.send_signal(signal.SIGCONT)
        assert reader.stdout.readline() == b"complete\n"


def test_sigterm_says_goodbye_to_everybody(server_process: Callable[..., ServerProcess]) -> None:
    """1012 with a time to come back, another for each, spread over the drain; then the process ends with status 0."""
    server = server_process(*SERVE, "--drain-seconds", "1")
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server.url("/ws"))) for _ in range(50)]
        os.kill(server.pid, signal.SIGTERM)
        retries = set()
        for client in clients:
            with pytest.raises(ConnectionClosed) as caught:
                client.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1012
            retries.add(json.loads(caught.value.rcvd.reason)["retry_ms"])
        assert len(retries) == 50
        assert server.wait() == 0
    assert "Traceback" not in server.log


@contextmanager
def stuck_client(server: ServerProcess) -> Iterator[None]:
    """A client of another process that reads nothing, when more was published than the kernel takes for it."""
    with socket.create_connection(("127.0.0.1", server.port)) as stuck, connect(server.url("/ws")) as publisher:
        stuck.sendall(handshake("/ws"))
        assert stuck.recv(12) == b"HTTP/1.1 101"
        for _ in range(120):
            publisher.send("x" * 60_000)
            publisher.recv()
        yield


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_stuck_client_does_not_keep_the_process(
    server_process: Callable[..., ServerProcess], sign: signal.Signals, loop: str
) -> None:
    """It ends within the drain and two seconds, with status 0."""
    server = server_process(*SERVE, "--drain-seconds", "0.5", "--loop", loop, "--stall-seconds", "60")
    with stuck_client(server):
        begin = time.monotonic()
        os.kill(server.pid, sign)
        assert server.wait() == 0
        assert time.monotonic() - begin < 2.5
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    "flags",
    [["--ws", "fanwise.protocol:FanwiseProtocol"], ["--timeout-graceful-shutdown", "1"]],
    ids=["protocol class", "plain ASGI with a timeout"],
)
def test_plain_uvicorn_ends_too(server_process: Callable[..., ServerProcess], flags: list[str]) -> None:
    """With a stuck client: by our protocol class alone, or by uvicorn's own patience."""
    server = server_process("-m", "uvicorn", "fanwise.app:app", "--port", "{port}", *flags)
    with stuck_client(server):
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM  # uvicorn raises the signal again when it has stopped


def test_a_draining_server_takes_nobody_in(server_process: Callable[..., ServerProcess]) -> None:
    """New clients get 503 and Retry-After, /readyz says so, and those who are here are served until they leave."""
    server = server_process(*SERVE, "--drain-seconds", "3")
    with connect(server.url("/ws")), connect(server.url("/ws")):
        assert server.get("/readyz").startswith(b"HTTP/1.1 200")
        assert server.get("/healthz").startswith(b"HTTP/1.1 200")
        os.kill(server.pid, signal.SIGTERM)
        server.wait_for_log("stopping: 2 clients")
        answer = server.get("/readyz")
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5" in answer.lower()
        answer = server.exchange(handshake("/ws"))
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5" in answer.lower()
        os.kill(server.pid, signal.SIGTERM)  # a second signal ends the wait
        assert server.wait() == 0

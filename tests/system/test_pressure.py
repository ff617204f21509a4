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
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fanwise import Broadcaster
from fanwise.testing import Server, serving

from ..support.forks import Popen
from ..support.live import app_of, handshake, running, until
from ..support.pressure import QuickReader, quick_burst
from ..support.processes import ROOT, ServerProcess


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def closed(broadcaster: Broadcaster) -> dict[str, int]:
    return broadcaster.statistics().closed


@pytest.fixture(params=["uvloop", "asyncio"])
def server_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Of the servers of synchronous tests: `fanwise.testing`."""
    return {"loop": request.param}


@pytest.mark.anyio
@pytest.mark.both_loops
@pytest.mark.parametrize("burst", [101, 1000, 10_000])
async def test_a_burst_drops_nobody_who_reads(burst: int) -> None:
    """With a queue of 100, to 20 clients: none of them is closed and none misses a message."""
    broadcaster = Broadcaster(queue_messages=100)
    async with running(app_of(broadcaster.router)) as live, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(QuickReader.connected(live)) for _ in range(20)]
        await until(lambda: len(broadcaster) == 20)
        expected = await quick_burst(broadcaster, burst)
        await until(lambda: all(len(client.received) >= len(expected) for client in clients))
        assert all(client.received == expected for client in clients)
        assert closed(broadcaster) == {}


@pytest.mark.broadcaster(queue_messages=1_000_000, queue_bytes=1 << 28, stall_seconds=0.6)
def test_a_stalled_client_is_aborted_whatever_its_queue_says(fanwise_server: Server, broadcaster: Broadcaster) -> None:
    """Within its bounds, but its connection takes nothing for `stall_seconds`; the others get each message."""
    healthy, stalled = fanwise_server.reading_client(), fanwise_server.stalled_client()
    texts = fanwise_server.burst_publisher(500, size=10_000)
    fanwise_server.assert_dropped(stalled, within_seconds=60, cause="stalled")
    assert healthy.wait_for(500, within_seconds=60) == texts
    assert fanwise_server.call(closed, broadcaster) == {"stalled": 1}


@pytest.mark.broadcaster(queue_messages=1_000_000, queue_bytes=1 << 28, history_bytes=1 << 28, stall_seconds=2)
def test_a_slow_client_that_moves_lives(fanwise_server: Server, broadcaster: Broadcaster) -> None:
    """Longer than `stall_seconds`, as long as it takes something now and then and its queue is wide enough."""
    slow = fanwise_server.slow_client(rate=100_000)
    texts = fanwise_server.burst_publisher(100, size=10_000)
    assert slow.wait_for(30, within_seconds=60) == texts[: len(slow.arrivals)]
    assert fanwise_server.call(closed, broadcaster) == {}


@pytest.mark.broadcaster(queue_messages=100)
def test_a_client_over_its_bounds_is_told_so(fanwise_server: Server, broadcaster: Broadcaster) -> None:
    """4008, behind what it has still to read; and no other is closed."""
    fanwise_server.reading_client()
    pausing = fanwise_server.pausing_client(seconds=60)
    fanwise_server.burst_publisher(500, size=10_000)
    fanwise_server.assert_dropped(within_seconds=60, cause="slow")
    pausing.go_on()
    assert pausing.wait_closed(within_seconds=60) == 4008
    assert pausing.close_text == "slow: the queue overflowed"
    assert fanwise_server.call(closed, broadcaster) == {"slow": 1}


@pytest.mark.parametrize("overflow", ["drop_oldest", "latest"])
def test_a_client_whose_queue_may_overflow_lives(overflow: str, server_options: dict[str, Any]) -> None:
    """It misses messages, which are counted, and gets the newest in order when it reads again."""
    broadcaster = Broadcaster(queue_messages=10, overflow=overflow)
    with serving(app_of(broadcaster.router), broadcaster=broadcaster, **server_options) as server:
        pausing = server.pausing_client(seconds=0.5)
        for _ in range(3):
            server.burst_publisher(1000, size=10_000)
        last = server.run(broadcaster.publish("lobby", "the last one"))
        while pausing.receive(within_seconds=60) != "the last one":
            pass
        statistics = server.call(broadcaster.statistics)
        assert statistics.closed == {}
        (channel,) = statistics.channels
        assert channel.skipped > 0
        assert channel.skipped + channel.deliveries == last.offset


@pytest.mark.broadcaster(
    queue_messages=1_000_000, queue_bytes=4_000_000, history_bytes=4_000_000, stall_seconds=60, memory_bytes=8_000_000
)
def test_short_memory_takes_the_one_that_is_furthest_behind(fanwise_server: Server, broadcaster: Broadcaster) -> None:
    """Before its queue or the clock would: logs take 3.6, 3 and 2.4 MB of payload."""
    healthy = fanwise_server.reading_client("/ws?channel=first")
    first, *others = (fanwise_server.stalled_client(f"/ws?channel={name}") for name in ("first", "second", "third"))
    texts = fanwise_server.burst_publisher(60, size=60_000, channel="first")
    assert healthy.wait_for(60, within_seconds=60) == texts
    fanwise_server.burst_publisher(50, size=60_000, channel="second")
    fanwise_server.burst_publisher(40, size=60_000, channel="third")
    fanwise_server.assert_dropped(first, within_seconds=60, cause="memory")
    statistics = fanwise_server.call(broadcaster.statistics)
    assert statistics.closed.keys() == {"memory"}  # on a busy machine the next audit may take another one, too
    left = {one.address for one in statistics.clients}
    assert healthy.address in left
    assert left <= {one.address for one in (healthy, *others)}


@pytest.mark.anyio
@pytest.mark.both_loops
@pytest.mark.parametrize("size", [4_000, 60_000])
async def test_a_burst_of_many_bytes_drops_nobody_who_reads(size: int) -> None:
    """20 MB, more than the kernel takes, to a client whose queue takes one, as fast as `publish` lets it."""
    broadcaster = Broadcaster()
    async with running(app_of(broadcaster.router)) as live, QuickReader.connected(live) as client:
        await until(lambda: len(broadcaster) == 1)
        expected = await quick_burst(broadcaster, 20_000_000 // size, size=size)
        await until(lambda: len(client.received) >= len(expected))
        assert client.received == expected
        assert closed(broadcaster) == {}


@pytest.mark.broadcaster(queue_messages=50, stall_seconds=0.5, history_seconds=0.01)
def test_everything_is_given_back(fanwise_server: Server, broadcaster: Broadcaster) -> None:
    """After the stalled, the vanished and the aborted have left: clients, tasks, descriptors, channels, bytes."""

    def held() -> tuple[int, int]:
        return len(asyncio.all_tasks()), descriptors()

    before = fanwise_server.call(held)
    for _ in range(5):
        fanwise_server.stalled_client()
        fanwise_server.reading_client()
        fanwise_server.vanishing_client()
    fanwise_server.wait_until(lambda: len(broadcaster) == 10)
    fanwise_server.burst_publisher(500, size=10_000)
    fanwise_server.assert_dropped(within_seconds=60)
    assert fanwise_server.call(lambda: len(broadcaster)) == 5
    for client in list(fanwise_server.clients):
        client.close()
    fanwise_server.wait_until(lambda: broadcaster.statistics().channels == (), within_seconds=60)
    fanwise_server.wait_until(lambda: held() == before, within_seconds=60)
    assert fanwise_server.call(broadcaster.statistics).clients == ()
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

"""The hot path: from the log to every ready client. Deliveries per round are clients times publications."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from fanwise.broadcaster.sweep import write_to_all
from fanwise.transport.uring import Ring

from .harness import drive
from .ready_channel import CursorObjects, Scene, TaskPerClient, TutorialLoop

CLIENTS = pytest.mark.parametrize("clients", [1, 100, 1000, 10_000])
BURST = pytest.mark.parametrize("burst", [1, 64])

Descriptors = Callable[[int], list[int]]


@CLIENTS
@BURST
def test_append_and_sweep(benchmark: BenchmarkFixture, descriptors: Descriptors, clients: int, burst: int) -> None:
    """Guards the whole path from `append` to the last write: nothing per client but the write."""
    benchmark.group = f"{clients} clients, {burst} at once"
    scene = Scene(descriptors(clients))

    def run() -> None:
        scene.append(burst)
        scene.sweep()

    benchmark(run)
    assert scene.channel.deliveries == clients * scene.channel.log.head
    scene.close()


@CLIENTS
@BURST
def test_tutorial_loop(benchmark: BenchmarkFixture, descriptors: Descriptors, clients: int, burst: int) -> None:
    """What the sweep replaces: guards that it stays far ahead from a few clients on; with one it is not."""
    benchmark.group = f"{clients} clients, {burst} at once"
    clients = min(clients, 1000) if benchmark.disabled else clients  # seconds, for no figure
    loop = TutorialLoop(descriptors(clients))
    drive(loop.accept())  # nothing in it ever waits: an event loop would only add to it
    benchmark.pedantic(lambda: drive(loop.broadcast(burst)), rounds=20 if clients * burst < 100_000 else 2)


@pytest.mark.parametrize("clients", [100, 1000])
@BURST
def test_task_per_client(benchmark: BenchmarkFixture, descriptors: Descriptors, clients: int, burst: int) -> None:
    """The twin without a sweep: guards against waking tasks for clients that are ready."""
    benchmark.group = f"{clients} clients, {burst} at once"
    with asyncio.Runner() as runner:

        async def start() -> TaskPerClient:
            return TaskPerClient(descriptors(clients))

        twin = runner.run(start())
        benchmark.pedantic(lambda: runner.run(twin.broadcast(burst)), rounds=5)


@pytest.mark.parametrize("clients", [1000, 10_000])
def test_cursor_per_client(benchmark: BenchmarkFixture, descriptors: Descriptors, clients: int) -> None:
    """The twin without shared cursors: guards against touching an object per client in a sweep."""
    benchmark.group = f"{clients} clients, 1 at once"
    fds = descriptors(clients)
    scene = Scene([])
    twin = CursorObjects(scene, fds)

    def run() -> None:
        scene.append(1)
        twin.sweep()

    benchmark(run)
    scene.close()


def write_to_transports(transports: Sequence[asyncio.WriteTransport], data: bytes) -> None:
    for transport in transports:
        transport.write(data)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("way", ["os.write", "transport.write"])
def test_how_a_slice_reaches_the_socket(benchmark: BenchmarkFixture, way: str, loop: str) -> None:
    """Guards writing to descriptors beside their transports: the twin asks 100 transports instead."""
    benchmark.group = f"a slice to 100 sockets, {loop}"
    data = b"x" * 137  # a hundred rounds of it fit into a socket's buffer
    pairs = [socket.socketpair() for _ in range(100)]
    for ours, _ in pairs:
        ours.setblocking(False)
    factory = asyncio.new_event_loop if loop == "asyncio" else uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:

        async def connect() -> list[asyncio.WriteTransport]:
            running = asyncio.get_running_loop()
            return [(await running.create_connection(asyncio.Protocol, sock=ours))[0] for ours, _ in pairs]

        async def write() -> None:  # a turn of the loop, in which uvloop may have queued its writes
            write_to_transports(transports, data)
            await asyncio.sleep(0)

        async def write_beside() -> None:
            write_to_all(fds, data)
            await asyncio.sleep(0)

        transports = runner.run(connect())
        fds = [ours.fileno() for ours, _ in pairs]
        benchmark.pedantic(lambda: runner.run(write_beside() if way == "os.write" else write()), rounds=100)
        for transport in transports:
            transport.abort()
        runner.run(asyncio.sleep(0))
    for pair in pairs:
        for end in pair:
            end.close()


@pytest.mark.parametrize("wave", [1, 512])
def test_how_many_clients_a_system_call_serves(benchmark: BenchmarkFixture, wave: int) -> None:
    """Guards waves: the twin sends to 512 sockets in a call for each cohort of 128."""
    benchmark.group = "a slice to 512 sockets through io_uring"
    data = b"x" * 137
    try:
        ring = Ring()
    except OSError as error:
        pytest.skip(f"no io_uring: {error}")
    pairs = [socket.socketpair() for _ in range(512)]
    fds = [ours.fileno() for ours, _ in pairs]
    parts = [fds] if wave > 1 else [fds[start : start + 128] for start in range(0, 512, 128)]

    def write() -> None:
        for part in parts:
            ring.write_to_all(part, data)

    benchmark.pedantic(write, rounds=100)  # a hundred rounds fit into a socket's buffer
    ring.close()
    for pair in pairs:
        for end in pair:
            end.close()

"""Waves of connections leave nothing behind: no object, task or descriptor, and no memory.

`tox -e waves` lets 20 waves of 1,000 come to a server in a process of its own, on both event loops, and prints its
resident memory after each.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fanwise.app import create_app, door_of
from fanwise.settings import load_settings

from ..support.live import handshake, running, until
from ..support.processes import ServerProcess

WAVES = int(os.environ.get("WAVES", "4"))
CONNECTIONS = int(os.environ.get("WAVE_CONNECTIONS", "100"))
WARM = 3  # waves after which memory is looked at
MEGABYTES_EACH = 0.2  # by which memory may grow in a wave
LOOKS = 200  # until callbacks that are due have run
FEWEST = 10  # waves whose memory says something

BOUNDED = {"ClosedClient", "Publication", "TimerHandle", "UVTimer"}  # logs, and asyncio's cancelled timers

JSON = handshake("/ws").replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: fanwise.v1\r\n\r\n")
KINDS = {
    "plain": handshake("/ws?channel=wave"),
    "JSON": JSON,
    "long way": handshake("/ws?channel=wave").replace(b"Connection: Upgrade", b"Connection: foo, Upgrade"),
    "stream": b"GET /sse/wave HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}
FIRST = {"plain": b"", "JSON": b'{"op":"subscribe","channel":"wave"}', "long way": b"", "stream": b""}
HEARD = {"plain": b"\r\n\r\n", "JSON": b'"subscribed"', "long way": b"\r\n\r\n", "stream": b"event: subscribed"}


def masked(text: bytes) -> bytes:
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


def read_until(peer: socket.socket, text: bytes) -> None:
    got = b""
    while text not in got:
        data = peer.recv(65_536)
        assert data, got
        got += data


def wave(port: int, count: int) -> None:
    """Has `count` peers of all kinds come, hear a message, and leave, each fourth with a reset."""
    peers: list[tuple[str, socket.socket]] = []
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        peer = socket.create_connection(("127.0.0.1", port))
        peer.settimeout(60)
        peer.sendall(KINDS[kind])
        if FIRST[kind]:
            read_until(peer, b'"welcome"')
            peer.sendall(masked(FIRST[kind]))
        read_until(peer, HEARD[kind])
        peers.append((kind, peer))
    text = b"hello to all of this wave"
    peers[0][1].sendall(masked(text))
    for _, peer in peers:
        read_until(peer, text)
    for number, (kind, peer) in enumerate(peers):
        if number // len(KINDS) % 4 == 0:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif kind != "stream":
            peer.sendall(b"\x88\x80" + bytes(4))
            read_until(peer, b"\x88")
        peer.close()


def ours() -> Counter[str]:
    """Objects of ours, of the event loop and of the libraries, by type, without those of bounded tables and clocks."""
    kinds = [type(one) for one in gc.get_objects()]
    mine = ("fanwise", "asyncio", "_asyncio", "uvloop", "uvicorn", "starlette", "websockets")
    found = Counter(kind.__name__ for kind in kinds if str(kind.__module__).partition(".")[0] in mine)
    return Counter({name: count for name, count in found.items() if name not in BOUNDED})


@pytest.fixture
def no_collections() -> Iterator[None]:
    """What earlier tests have left to the collector goes before, and not in the middle of a count."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left() -> Counter[str]:
    """What is there, by its name, in this process and its event loop."""
    return ours() + Counter(tasks=len(asyncio.all_tasks()), descriptors=open_files("self"))


@pytest.mark.anyio
@pytest.mark.both_loops
@pytest.mark.usefixtures("no_collections")
async def test_a_wave_leaves_no_object_behind() -> None:
    """Nor a task or descriptor: nothing is more after it than before. No collection is needed for that."""
    one = create_app(load_settings())
    async with running(one, door=door_of(one)) as live:
        state = live.server.server_state
        for _ in range(3):
            before = left()
            await asyncio.to_thread(wave, live.port, 40)
            await until(lambda: not (state.connections or state.tasks or len(one.state.broadcaster)))
        looks = itertools.count()
        await until(lambda: not left() - before or next(looks) > LOOKS)  # callbacks of the loop come and go
        assert left() - before == Counter()


def open_files(pid: int | str) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident_megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.slow
@pytest.mark.timeout(60 + 30 * WAVES)
@pytest.mark.skipif(WAVES < FEWEST, reason="`tox -e waves` has enough of them")
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_waves_leave_no_memory_behind(server_process: Callable[..., ServerProcess], loop: str) -> None:
    """After the third, each adds at most 0.2 MB; descriptors are those of the beginning."""
    server = server_process("-m", "fanwise", "serve", "--port", "{port}", "--loop", loop, whole=True)
    wave(server.port, len(KINDS))
    before, memory = min(descriptors(server) for _ in range(20)), []
    for _ in range(WAVES):
        wave(server.port, CONNECTIONS)
        while descriptors(server) > before:
            pass
        memory.append(resident_megabytes(server.pid))
    sys.stdout.write(f"{loop}: {' '.join(f'{one:.1f}' for one in memory)} MB\n")  # seen with -s
    assert memory[-1] - memory[WARM - 1] <= MEGABYTES_EACH * (WAVES - WARM)


def descriptors(server: ServerProcess) -> int:
    """How many the server has; it has answered a request meanwhile."""
    server.get("/healthz")
    return open_files(server.pid)

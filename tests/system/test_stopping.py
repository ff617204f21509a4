"""SIGTERM while strangers hold connections of every kind: the process ends in time, with status 0."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

import pytest

from ..support.live import handshake
from ..support.processes import ServerProcess

LOOPS = ("uvloop", "asyncio")
DRAIN_SECONDS = 1.0
# A server takes 0.2 to 1.4 s here, and at most the drain and two seconds; a busy machine takes longer.
LIMIT_SECONDS = 15.0
HOST = b"Host: 127.0.0.1\r\n"
PUBLISH = b"POST /publish/lobby HTTP/1.1\r\n" + HOST
PING = b"\x89\x80\x00\x00\x00\x00"
TEXT = b"\x81\x81\x00\x00\x00\x00x"
UPGRADE = handshake("/ws")

# {kind of connection: what it sends before it falls silent}
SILENT = {
    "nothing": b"",
    "half a request line": b"GET /heal",
    "half a head": b"GET /healthz HTTP/1.1\r\n" + HOST,
    "a body that does not come": PUBLISH + b"Content-Length: 100\r\n\r\nhalf",
    "a chunk that does not come": PUBLISH + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "an upgrade with a body": UPGRADE[:-2] + b"Content-Length: 5\r\n\r\nhello",
    "an upgrade with a bad header": UPGRADE[:-2] + b"Bad header\r\n\r\n",
    "an upgrade with a bad key": UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
    "an upgrade without its end": UPGRADE[:-2],
    "a WebSocket that does not read": UPGRADE,
    "an event stream that is not read": b"GET /sse/lobby HTTP/1.1\r\n" + HOST + b"\r\n",
    "an answered request": b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "an answer that is not read": b"GET /channels/lobby/history?limit=1000 HTTP/1.1\r\n" + HOST + b"\r\n",
}
# Those that are stopped beside each other; on asyncio all are.
TOGETHER = {
    "requests": ["nothing", "half a request line", "half a head"],
    "bodies": ["a body that does not come", "a chunk that does not come", "an answered request"],
    "upgrades": [kind for kind in SILENT if kind.startswith("an upgrade")],
    "WebSocket": ["a WebSocket that does not read"],
    "event stream": ["an event stream that is not read"],
    "answer": ["an answer that is not read"],
}
# {kind of flood: what a WebSocket sends again and again}
FLOODS = {"pings": PING * 1_000, "texts": TEXT * 1_000, "empty fragments": b"\x01\x80\x00\x00\x00\x00" * 1_000}


@pytest.fixture(params=LOOPS)
def server(request: pytest.FixtureRequest, server_process: Callable[..., ServerProcess]) -> ServerProcess:
    """A server that drains for a second."""
    args = ("-m", "fanwise", "serve", "--port", "{port}", "--loop", request.param)
    server = server_process(*args, FANWISE_DRAIN_SECONDS=str(DRAIN_SECONDS))
    server.wait_for_log("started")
    return server


def connect(stack: ExitStack, server: ServerProcess, data: bytes) -> socket.socket:
    """A connection of which the kernel takes little, after it has sent `data`."""
    peer = stack.enter_context(socket.socket())
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(("127.0.0.1", server.port))
    peer.sendall(data)
    return peer


def stop(server: ServerProcess) -> None:
    """Sends SIGTERM, and sees a clean end in time."""
    assert server.stop(within_seconds=LIMIT_SECONDS) == 0, server.log
    assert "Traceback" not in server.log
    assert "stopped:" in server.log


@contextmanager
def flooding(peer: socket.socket, data: bytes) -> Iterator[None]:
    """Another thread sends `data` again and again, and reads nothing, until the connection is closed."""
    over, begun = Event(), Event()

    def flood() -> None:
        peer.settimeout(0.2)
        while not over.is_set():
            try:
                peer.sendall(data)
            except TimeoutError:
                continue
            except OSError:
                return
            finally:
                begun.set()

    thread = Thread(target=flood)
    thread.start()
    try:
        assert begun.wait(30)
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("server", "kinds"),
    [
        *(pytest.param("uvloop", TOGETHER[name], id=name) for name in TOGETHER),
        pytest.param("asyncio", list(SILENT), id="all"),
    ],
    indirect=["server"],
)
def test_it_ends_beside_a_connection(server: ServerProcess, kinds: list[str]) -> None:
    """Of each kind, three of them, and a log that no kernel takes at once."""
    body = b"x" * 60_000
    for _ in range(60):
        server.exchange(PUBLISH + b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    with ExitStack() as stack:
        for kind in 3 * kinds:
            connect(stack, server, SILENT[kind])
        server.get("/healthz")  # what came before was seen
        stop(server)


@pytest.mark.parametrize("kind", FLOODS)
def test_it_ends_during_a_flood(server: ServerProcess, kind: str) -> None:
    """Which does not take the loop from the drain."""
    with ExitStack() as stack:
        for _ in range(3):
            peer = connect(stack, server, UPGRADE)
            assert peer.recv(4096).startswith(b"HTTP/1.1 101")
            stack.enter_context(flooding(peer, FLOODS[kind]))
        stop(server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_drain(server_process: Callable[..., ServerProcess], number: signal.Signals) -> None:
    """At once, with status 0, whoever is still connected."""
    server = server_process("-m", "fanwise", "serve", "--port", "{port}", FANWISE_DRAIN_SECONDS="600")
    server.wait_for_log("started")
    with ExitStack() as stack:
        for data in SILENT.values():
            connect(stack, server, data)
        server.get("/healthz")
        server.terminate()
        server.wait_for_log("stopping:")
        os.kill(server.pid, number)
        stop(server)

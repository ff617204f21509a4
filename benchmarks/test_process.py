"""One whole server, as users start it, on real sockets: everything that the other benchmarks leave out."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.support.live import handshake
from tests.support.processes import ServerProcess

from .measuring.fixture import SteadyFixture
from .wire import masked

TEXT = b"x" * 128
ECHO = b"\x81\x7e\x00\x89Message: " + TEXT


def connect(port: int) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port))
    peer.sendall(handshake("/ws"))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += peer.recv(1)
    return peer


def read(peer: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        parts.append(peer.recv(size))
        assert parts[-1], "the server has closed the connection"
        size -= len(parts[-1])
    return b"".join(parts)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    process = ServerProcess("-m", "fanwise", "serve", "--port", "{port}")
    yield process
    process.close()


@pytest.mark.parametrize("burst", [1, 64])
@pytest.mark.parametrize("clients", [1, 100])
def test_from_client_to_clients(benchmark: BenchmarkFixture, server: ServerProcess, clients: int, burst: int) -> None:
    """Guards the whole: what one client sends until all have it. It drifts with the machine; the gates do not."""
    benchmark.group = f"a server process, {clients} clients, {burst} at once"
    if isinstance(benchmark, SteadyFixture):
        benchmark.leave_out("the work is done in another process")
    peers = [connect(server.port) for _ in range(clients)]
    message, echo = masked(TEXT) * burst, ECHO * burst

    def run() -> bool:
        peers[0].sendall(message)
        return [read(peer, len(echo)) for peer in peers] == [echo] * clients

    assert benchmark.pedantic(run, rounds=50 if benchmark.enabled else 1)
    for peer in peers:
        peer.close()

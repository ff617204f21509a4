"""Places on a real server: descriptors that run out, and addresses behind a proxy."""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from ..support.live import handshake
from ..support.processes import ServerProcess

DESCRIPTORS, PEERS = 256, 400
LOOPS = ("uvloop", "asyncio")


def lower_the_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


@pytest.fixture(params=LOOPS)
def scarce(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server that may have 256 descriptors."""
    args = ("-m", "fanwise", "serve", "--port", "{port}", "--loop", request.param)
    with closing(ServerProcess(*args, before=lower_the_limit)) as server:
        yield server


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def shake_hands(stack: ExitStack, server: ServerProcess, *headers: str) -> tuple[socket.socket, bytes]:
    """A connection after its handshake, and the answer."""
    peer = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
    extra = "".join(f"{header}\r\n" for header in headers).encode()
    peer.sendall(handshake("/ws")[:-2] + extra + b"\r\n")
    return peer, peer.recv(4096)


def wait_until(condition: Callable[[], bool]) -> None:
    """Looks again and again; the test's own time limit ends a wait in vain."""
    poll = socket.socketpair()
    with poll[0], poll[1]:
        poll[0].settimeout(0.05)
        while not condition():
            with pytest.raises(TimeoutError):
                poll[0].recv(1)


def new_lines(server: ServerProcess, before: int) -> list[str]:
    return server.log[before:].splitlines()


def check_reserve(server: ServerProcess) -> None:
    """Probes, metrics, publishers and operators are answered; what stays is not."""
    for path in ("/healthz", "/readyz", "/metrics", "/stats", "/clients", "/channels"):
        answer = server.get(path)
        assert answer.startswith(b"HTTP/1.1 200"), (path, answer)
        assert b"\r\nconnection: close\r\n" in answer
    request = b"POST /publish/lobby HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\nhi"
    assert server.exchange(request).startswith(b"HTTP/1.1 200")
    answer = server.get("/sse/lobby")
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"\r\nretry-after: 5\r\n" in answer


def test_clients_beyond_the_descriptors_are_refused(scarce: ServerProcess) -> None:
    """With an answer, few lines and no spinning; and all is as before when they have left."""
    scarce.wait_for_log("started")
    before = len(scarce.log)
    assert "descriptors for 192 clients only" in scarce.log
    with ExitStack() as stack:
        answers = Counter(shake_hands(stack, scarce)[1].split(b"\r\n", 1)[0] for _ in range(PEERS))
        taken = answers[b"HTTP/1.1 101 Switching Protocols"]
        assert 150 <= taken <= 192
        assert answers[b"HTTP/1.1 503 Service Unavailable"] == PEERS - taken
        check_reserve(scarce)
        start, cpu = time.monotonic(), cpu_seconds(scarce.pid)
        wait_until(lambda: time.monotonic() - start > 2)
        assert cpu_seconds(scarce.pid) - cpu < 0.4 * (time.monotonic() - start)
    assert f'"full":{PEERS - taken + 1}'.encode() in scarce.get("/stats").replace(b" ", b"")
    with ExitStack() as stack:
        wait_until(lambda: b"HTTP/1.1 101" in shake_hands(stack, scarce)[1])
    assert len(new_lines(scarce, before)) <= 10


def test_connections_that_say_nothing_do_not_keep_others_out(scarce: ServerProcess) -> None:
    """At once probes are answered from the reserve; after two seconds clients get in, too."""
    scarce.wait_for_log("started")
    before = len(scarce.log)
    with ExitStack() as stack:
        for _ in range(PEERS):
            stack.enter_context(socket.create_connection(("127.0.0.1", scarce.port)))
        check_reserve(scarce)
        wait_until(lambda: b"HTTP/1.1 101" in shake_hands(stack, scarce)[1])
    assert len(new_lines(scarce, before)) <= 10
    assert "Traceback" not in scarce.log


@pytest.mark.parametrize("loop", LOOPS)
def test_behind_a_proxy_the_forwarded_address_has_places(
    server_process: Callable[..., ServerProcess], loop: str
) -> None:
    """A WebSocket keeps its place until it ends; others come from other addresses over the same proxy."""
    server = server_process(
        *("-m", "fanwise", "serve", "--port", "{port}", "--loop", loop),
        FANWISE_TRUSTED_PROXIES="127.0.0.1",
        FANWISE_ADDRESS_CONNECTIONS="2",
    )
    with ExitStack() as stack:
        first, answer = shake_hands(stack, server, "X-Forwarded-For: 192.0.2.7")
        assert answer.startswith(b"HTTP/1.1 101")
        assert shake_hands(stack, server, "X-Forwarded-For: 192.0.2.7")[1].startswith(b"HTTP/1.1 101")
        refused = shake_hands(stack, server, "X-Forwarded-For: 10.9.9.9, 192.0.2.7")[1]
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nretry-after: 5\r\n" in refused
        for other in ("2001:db8::1", "2001:db8::2"):
            assert shake_hands(stack, server, f"X-Forwarded-For: {other}")[1].startswith(b"HTTP/1.1 101")
        assert shake_hands(stack, server, "X-Forwarded-For: 2001:db8::3")[1].startswith(b"HTTP/1.1 429")
        assert shake_hands(stack, server)[1].startswith(b"HTTP/1.1 101"), "the proxy itself is on loopback"
        first.close()
        wait_until(lambda: b"HTTP/1.1 101" in shake_hands(stack, server, "X-Forwarded-For: 192.0.2.7")[1])
        assert b"too_many_connections" in server.get("/stats")
    assert "Invalid HTTP request" not in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize("loop", LOOPS)
def test_a_new_connection_keeps_the_debt_of_its_address(
    server_process: Callable[..., ServerProcess], loop: str
) -> None:
    """Publications over HTTP count at the address, whatever connection they come on: then 429, and Retry-After."""
    server = server_process(
        *("-m", "fanwise", "serve", "--port", "{port}", "--loop", loop),
        FANWISE_TRUSTED_PROXIES="127.0.0.1",
        FANWISE_OPEN="true",
        FANWISE_ADDRESS_PUBLISHES_PER_SECOND="1",
    )

    def batch(address: str, entries: int) -> bytes:
        body = b"[%s]" % b",".join([b'{"channel":"a","data":1}'] * entries)
        head = f"POST /publish HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-Forwarded-For: {address}\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    with socket.create_connection(("127.0.0.1", server.port)) as waiting:
        waiting.sendall(batch("2001:db8::1", 1_000))  # ten at once, and 990 seconds' worth of debt
        wait_until(lambda: server.exchange(batch("2001:db8::2", 0)).startswith(b"HTTP/1.1 429 "))
        refused = server.exchange(batch("2001:db8::3", 1))
        assert b"\r\nretry-after: 5\r\n" in refused
        assert b"publishes_too_fast" in refused
        assert server.exchange(batch("2001:db8:0:1::1", 1)).startswith(b"HTTP/1.1 200 ")
        waiting.setblocking(False)
        with pytest.raises(BlockingIOError):
            waiting.recv(1)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_without_a_place_is_refused_before_the_application_is_asked(
    server_process: Callable[..., ServerProcess], loop: str
) -> None:
    """503 with Retry-After in the JSON of the protocol class, counted once; a watcher of /live takes no such place."""
    server = server_process(*("-m", "fanwise", "serve", "--port", "{port}", "--loop", loop), FANWISE_MAX_CLIENTS="1")
    with ExitStack() as stack:
        first, answer = shake_hands(stack, server)
        assert answer.startswith(b"HTTP/1.1 101")
        wait_until(lambda: len(json.loads(server.get("/clients").partition(b"\r\n\r\n")[2])["clients"]) == 1)
        refused = shake_hands(stack, server)[1]
        head, _, body = refused.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 5" in head
        assert json.loads(body)["error"]["code"] == "full"
        assert b'"full":1' in server.get("/stats").replace(b" ", b"")
        server.wait_for_log("no_room")
        watcher = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        watcher.sendall(handshake("/live")[:-2] + b"Sec-WebSocket-Protocol: fanwise.v1\r\n\r\n")
        assert watcher.recv(4096).startswith(b"HTTP/1.1 101")
        first.close()
        wait_until(lambda: b"HTTP/1.1 101" in shake_hands(stack, server)[1])

"""No byte ever reaches the wrong connection, however connections come, go and change hands beside the sweeps.

Hundreds of connections at a time follow random plans: WebSockets and event streams, alone, behind other requests and in
front of them, ended in every way that a peer, the server or its policies know. Each of four channels repeats one
payload of its own, so that all that a connection may ever receive is known. Each byte is compared.
"""

from __future__ import annotations

import os
import random
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pytest

from fanwise.transport.sweep_writer import open_writer

from ..support.churn_server import PAYLOADS
from ..support.live import handshake
from ..support.processes import ServerProcess

CLIENTS = int(os.environ.get("CHURN_CLIENTS", "300"))  # connected at a time
# How connections come in, and how sweeps go: through io_uring, where the kernel has it, and with write(2) and a yield
# after each client.
WAYS = [["--door", "--sweep", "auto"], ["--sweep", "write", "--yield-after-each"]]
if os.environ.get("CHURN_WAYS") == "all":
    WAYS += [["--sweep", "auto", "--yield-after-each"], ["--door", "--sweep", "write"]]
    WAYS += [["--sweep", "auto"], ["--door", "--sweep", "write", "--yield-after-each"]]
SECONDS = float(os.environ.get("CHURN_SECONDS", "0"))  # how long a run lasts; 0: until it has exercised enough
CONNECTIONS = 600  # that is so many (a planted fault takes up to 500), and
EXERCISED = {"close", "reset", "vanish", "ended"}  # each of these endings


def frame_of(channel: str) -> bytes:
    payload = PAYLOADS[channel].encode()
    header = bytes([0x81, len(payload)]) if len(payload) < 126 else b"\x81\x7e" + len(payload).to_bytes(2)
    return header + payload


PONG = b"\x8a\x00"
FRAMES = {channel: frame_of(channel) for channel in PAYLOADS}  # whole messages, as each WebSocket gets them
# The data of events: payloads, and what streams are told at their begin and end.
EVENTS = {channel: {f"data: {payload}".encode()} for channel, payload in PAYLOADS.items()}


class Request(NamedTuple):
    """What is asked for, and so what may come."""

    kind: str  # "health", "head", "stream" or "ws"
    channel: str
    data: bytes


def ask(kind: str, channel: str) -> Request:
    end = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    data = {
        "health": b"GET /healthz" + end,
        "head": f"HEAD /sse/{channel}".encode() + end,
        "stream": f"GET /sse/{channel}".encode() + end,
        "ws": handshake(f"/ws?channel={channel}"),
    }
    return Request(kind, channel, data[kind])


# What a connection asks for: packets, each of them requests that are sent at once. Later packets follow when something
# has come in answer to the one before. "frames" are what a WebSocket would send.
PLANS = (
    (("ws",),),
    (("ws",),),
    (("stream",),),
    (("health", "ws"),),
    (("health",), ("ws",)),
    (("health", "health", "stream"),),
    (("stream", "ws"),),
    (("stream",), ("ws",)),
    (("stream", "health"),),
    (("stream",), ("frames",)),
    (("ws", "frames"),),
    (("ws",), ("frames",)),
    (("ws",), ("health",)),
    (("head", "ws"),),
    (("health", "stream", "ws", "stream"),),
)
ENDINGS = ("close", "reset", "vanish", "half-close", "stay", "stop reading")


class Received:
    """Compares what a connection receives with what it has asked for."""

    def __init__(self) -> None:
        self.expected: list[Request] = []
        self.total = 0
        self._data = bytearray()
        self._read = self._head
        self._request = ask("health", "w")
        self._body_bytes = 0
        self._text = b""

    def take(self, data: bytes) -> str | None:
        """What is wrong with `data`, the next bytes of the connection; None if nothing is."""
        self.total += len(data)
        self._data += data
        while self._data:
            wrong = self._read()
            if wrong is not None:
                return wrong or None
        return None

    # Each returns what is wrong, "" where it waits for more, None where it goes on.

    def _head(self) -> str | None:
        if not b"HTTP/1.1 ".startswith(bytes(self._data[:9])):
            return f"no status line: {bytes(self._data[:60])!r}"
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return ""
        head = bytes(self._data[:end]).lower()
        del self._data[: end + 4]
        status = head[9:12]
        if self.expected:
            self._request = self.expected.pop(0)
        elif status != b"400":  # frames where a request belongs
            return f"nothing was asked for: {head[:60]!r}"
        if status == b"101" and self._request.kind == "ws":
            self._read = self._frames
        elif status == b"200" and self._request.kind == "stream":
            self._read = self._chunks
        elif status in (b"400", b"503") or (status == b"405" and self._request.kind == "head"):
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self._body_bytes = 0 if status == b"405" else length
            self._read = self._body
        elif status == b"200" and self._request.kind == "health":
            self._body_bytes = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self._read = self._body
        else:
            return f"{self._request.kind} was answered with {head[:60]!r}"
        return None

    def _body(self) -> str | None:
        if len(self._data) < self._body_bytes:
            return ""
        body = bytes(self._data[: self._body_bytes])
        del self._data[: self._body_bytes]
        self._read = self._head
        if any(letter * 20 in body for letter in (b"w", b"x", b"y", b"z")):
            return f"an answer holds a payload: {body[:60]!r}"
        return None

    def _frames(self) -> str | None:
        frame = FRAMES[self._request.channel]
        whole = len(self._data) // len(frame)
        if whole and self._data.startswith(frame * whole):
            del self._data[: whole * len(frame)]
            return None if self._data else ""
        same = 0
        while self._data.startswith(frame, same):
            same += len(frame)
        del self._data[:same]
        if frame.startswith(self._data) or self._data == PONG[:1]:
            return ""
        if self._data.startswith(PONG):
            del self._data[: len(PONG)]
            return None
        if self._data[0] != 0x88:
            return f"websocket on {self._request.channel}: {bytes(self._data[:60])!r}"
        if len(self._data) < 2 or len(self._data) < 2 + self._data[1]:
            return ""
        del self._data[: 2 + self._data[1]]
        self._read = self._nothing
        return None

    def _chunks(self) -> str | None:
        line = self._data.find(b"\r\n", 0, 20)
        if line < 0:
            return "" if len(self._data) < 20 else f"no chunk: {bytes(self._data[:60])!r}"
        try:
            size = int(self._data[:line], 16)
        except ValueError:
            return f"stream of {self._request.channel}: {bytes(self._data[:60])!r}"
        end = line + 2 + size
        if len(self._data) < end + 2:
            return ""
        if self._data[end : end + 2] != b"\r\n":
            return f"a chunk does not end: {bytes(self._data[:60])!r}"
        self._text += self._data[line + 2 : end]
        del self._data[: end + 2]
        if not size:
            self._read = self._nothing
        *events, self._text = self._text.split(b"\n\n")
        wrong = [event for event in events if not self._is_ours(event)]
        return f"stream of {self._request.channel}: {wrong[0][:80]!r}" if wrong else None

    def _is_ours(self, event: bytes) -> bool:
        lines = event.split(b"\n")
        told = any(line in (b"event: subscribed", b"event: close", b"event: gap") for line in lines)
        data = {line for line in lines if line.startswith(b"data:")}
        return told or not data or data == EVENTS[self._request.channel]

    def _nothing(self) -> str | None:
        if self._request.kind == "ws" and PONG.startswith(self._data[:2]):  # pings are answered up to the peer's close
            del self._data[:2]
            return ""
        return f"after the end: {bytes(self._data[:60])!r}"


class Peer:
    """One connection: follows its plan, and ends in its own way after so many bytes."""

    def __init__(self, port: int) -> None:
        self.channel = random.choice(list(PAYLOADS))
        self.plan = list(random.choice(PLANS))
        self.ending = random.choice(ENDINGS)
        self.bytes_left = random.choice((1, 1_000, 30_000, 300_000))
        self.received = Received()
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, random.choice((4_096, 65_536)))
        self.sock.connect_ex(("127.0.0.1", port))

    def send_next(self) -> None:
        """Sends the next packet of the plan, if there is one."""
        packet = b""
        for kind in self.plan.pop(0) if self.plan else ():
            if kind == "frames":
                packet += b"\x89\x80\x00\x00\x00\x00" if random.random() < 0.1 else b"\x88\x80\x00\x00\x00\x00"
                continue
            request = ask(kind, self.channel)
            self.received.expected.append(request)
            packet += request.data
        if packet:
            self.sock.send(packet)


class Churn:
    """Keeps so many peers connected and replaces those that end."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.selector = selectors.DefaultSelector()
        self.started = 0
        self.wrong: list[str] = []
        self.endings: Counter[str] = Counter()
        self.bytes = 0

    @property
    def exercised(self) -> bool:
        return self.started >= CONNECTIONS and self.endings.keys() >= EXERCISED

    def run(self, seconds: float) -> None:
        """Runs for that time (0: until it has exercised enough), or up to the first byte that is wrong.

        Then the server drains, and the rest is read.
        """
        deadline = time.monotonic() + seconds
        while not self.wrong and (time.monotonic() < deadline if seconds else not self.exercised):
            while len(self.selector.get_map()) < CLIENTS:
                self.started += 1
                peer = Peer(self.server.port)
                self.selector.register(peer.sock, selectors.EVENT_WRITE, peer)
            self.turn()
        self.server.terminate()
        while not self.wrong and self.selector.get_map():
            self.turn()
        for key in list(self.selector.get_map().values()):
            key.data.sock.close()
        self.selector.close()

    def turn(self) -> None:
        for key, events in self.selector.select(1):
            self.step(key.data, events)

    def step(self, peer: Peer, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                peer.send_next()
                self.selector.modify(peer.sock, selectors.EVENT_READ, peer)
                return
            data = peer.sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.end(peer, "ended")
            return
        self.bytes += len(data)
        wrong = peer.received.take(data)
        if wrong is not None:
            self.wrong.append(wrong)
        if peer.plan and peer.received.total > 200:
            try:
                peer.send_next()
            except OSError:
                self.end(peer, "ended")
        elif peer.ending != "stay" and peer.received.total >= peer.bytes_left:
            self.leave(peer)

    def leave(self, peer: Peer) -> None:
        try:
            if peer.ending == "half-close":
                peer.ending = "stay"  # and read on, to the end
                peer.sock.shutdown(socket.SHUT_WR)
                return
            if peer.ending == "stop reading":
                peer.ending = "vanish"  # when some more has come, if it ever does
                peer.bytes_left += 500_000
                return
            if peer.ending == "close":
                peer.sock.send(b"\x88\x82\x00\x00\x00\x00\x03\xe8")
                self.endings["close"] += 1
                peer.ending = "stay"  # and see that nothing follows the answer
                return
        except OSError:
            pass
        if peer.ending == "reset":
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.end(peer, peer.ending)

    def end(self, peer: Peer, how: str) -> None:
        self.endings[how] += 1
        self.selector.unregister(peer.sock)
        peer.sock.close()


def churn(server: ServerProcess, *, seconds: float = SECONDS) -> Churn:
    run = Churn(server)
    run.run(seconds)
    return run


@pytest.mark.slow
@pytest.mark.timeout(120 + 3 * SECONDS)
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("flags", WAYS, ids=" ".join)
def test_no_byte_reaches_the_wrong_connection(
    server_process: Callable[..., ServerProcess], loop: str, flags: list[str]
) -> None:
    """Connections of all kinds come, go and change hands while four channels broadcast."""
    server = server_process("-m", "tests.support.churn_server", "{port}", loop, *flags)
    run = churn(server)
    assert run.wrong == []
    assert run.endings.keys() >= EXERCISED, "an ending was not exercised"
    sys.stdout.write(f"{run.started} connections, {run.bytes} bytes, {dict(run.endings)}\n")  # seen with -s
    assert server.wait() == 0
    assert "Traceback" not in server.log, server.log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loop", "flags"), [("uvloop", []), ("asyncio", []), ("uvloop", ["--door"])], ids=["uvloop", "asyncio", "door"]
)
@pytest.mark.parametrize("fault", ["lost", "closed", "taken"])
def test_a_lease_that_ends_too_late_is_caught(
    server_process: Callable[..., ServerProcess], loop: str, flags: list[str], fault: str
) -> None:
    """One turn is enough for a byte to reach the wrong connection, or to follow an end: this very check sees it.

    It takes a second or two. A run of connections that meets none is given up for another.
    """
    assert is_caught(server_process, loop, "--fault", fault, *flags)


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.skipif(open_writer("auto").name != "io_uring", reason="the kernel has no io_uring")
def test_a_request_of_the_ring_that_outlives_its_call_is_caught(
    server_process: Callable[..., ServerProcess], loop: str
) -> None:
    """Its bytes go out late, out of memory that holds others' by then."""
    assert is_caught(server_process, loop, "--sweep", "uring", "--fault", "pending")


def is_caught(server_process: Callable[..., ServerProcess], *flags: str) -> bool:
    wrong: list[str] = []
    for _ in range(10):
        server = server_process("-m", "tests.support.churn_server", "{port}", *flags)
        wrong += churn(server, seconds=8).wrong
        server.kill()  # a faulty one may not end by itself
        if wrong:
            break
    return bool(wrong)

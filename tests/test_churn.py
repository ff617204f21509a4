"""No byte ever reaches the wrong client, however connections come and go beside the sweeps.

Each of two channels repeats one payload of its own, so that all that a client may ever receive is known: the answer to
its handshake, then whole frames of its own channel, then perhaps a close frame, then the end. Each byte is compared.
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

import pytest

from .churn_server import PAYLOADS
from .live import handshake
from .processes import ServerProcess

CLIENTS = int(os.environ.get("CHURN_CLIENTS", "400"))  # connected at a time
CHURNED = 2_000  # connections per run
SECONDS = float(os.environ.get("CHURN_SECONDS", "0"))  # runs at least this long
ENDINGS = ("close", "reset", "vanish", "half-close", "stay")


def frame_of(channel: str) -> bytes:
    payload = PAYLOADS[channel].encode()
    header = bytes([0x81, len(payload)]) if len(payload) < 126 else b"\x81\x7e" + len(payload).to_bytes(2)
    return header + payload


STREAMS = {channel: frame_of(channel) * 2000 for channel in PAYLOADS}  # long enough for any read at any phase
FRAMES = {channel: frame_of(channel) for channel in PAYLOADS}


class Peer:
    """One connection: checks what it receives, and ends in its own way after so many bytes."""

    def __init__(self, port: int) -> None:
        self.channel = random.choice(list(PAYLOADS))
        self.ending = random.choice(ENDINGS)
        self.bytes_left = random.choice((1, 1_000, 30_000, 300_000))
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, random.choice((4_096, 65_536)))
        self.sock.connect_ex(("127.0.0.1", port))
        self.head: bytes | None = b""  # the answer to the handshake, as far as it has come; None when it is complete
        self.phase = 0  # bytes of the current frame that have come
        self.closing = b""  # a close frame, as far as it has come
        self.received = 0

    def start(self) -> None:
        self.sock.sendall(handshake(f"/ws?channel={self.channel}"))

    def check(self, data: bytes) -> str | None:
        """What is wrong with `data`, the next bytes of this connection; None if nothing is."""
        if self.head is not None:
            self.head += data
            if not b"HTTP/1.1 101 ".startswith(self.head[:13]):
                return f"before its handshake's answer {self.head[:40]!r}"
            _, end, data = self.head.partition(b"\r\n\r\n")
            if not end:
                return None
            self.head = None
        self.received += len(data)
        stream, frame = STREAMS[self.channel], FRAMES[self.channel]
        if not self.closing and stream[self.phase : self.phase + len(data)] == data:
            self.phase = (self.phase + len(data)) % len(frame)
            return None
        return self._check_close(data, frame)

    def _check_close(self, data: bytes, frame: bytes) -> str | None:
        """A close frame may begin between two frames, and nothing may follow it."""
        if not self.closing:
            same = 0
            while data.startswith(frame[self.phase :], same):
                same += len(frame) - self.phase
                self.phase = 0
            data = data[same:]
            if self.phase:
                return f"{self.channel}: inside a frame {data[:40]!r}"
        self.closing += data
        if self.closing[0] != 0x88 or (len(self.closing) > 1 and len(self.closing) > 2 + self.closing[1]):
            return f"{self.channel}: between frames {self.closing[:40]!r}"
        return None


class Churn:
    """Keeps so many peers connected and replaces those that end."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.selector = selectors.DefaultSelector()
        self.started = 0
        self.wrong: list[str] = []
        self.endings: Counter[str] = Counter()
        self.received = 0

    def run(self) -> None:
        deadline = time.monotonic() + SECONDS
        while not self.wrong and (self.started < CHURNED or time.monotonic() < deadline):
            while len(self.selector.get_map()) < CLIENTS:
                self.started += 1
                peer = Peer(self.port)
                self.selector.register(peer.sock, selectors.EVENT_WRITE, peer)
            for key, events in self.selector.select(1):
                self.step(key.data, events)
        for key in list(self.selector.get_map().values()):
            key.data.sock.close()
        self.selector.close()

    def step(self, peer: Peer, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                peer.start()
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
        self.received += len(data)
        wrong = peer.check(data)
        if wrong is not None:
            self.wrong.append(wrong)
        if peer.ending != "stay" and peer.received >= peer.bytes_left:
            self.leave(peer)

    def leave(self, peer: Peer) -> None:
        if peer.ending == "half-close":
            peer.ending = "stay"  # and read on, to the end
            peer.sock.shutdown(socket.SHUT_WR)
            return
        if peer.ending == "close":
            peer.sock.send(b"\x88\x82\x00\x00\x00\x00\x03\xe8")
        elif peer.ending == "reset":
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.end(peer, peer.ending)

    def end(self, peer: Peer, how: str) -> None:
        self.endings[how] += 1
        self.selector.unregister(peer.sock)
        peer.sock.close()


def churn(server: ServerProcess) -> Churn:
    run = Churn(server.port)
    run.run()
    return run


@pytest.mark.slow
@pytest.mark.timeout(60 + 3 * SECONDS)
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("flags", [[], ["--yield-after-each"]], ids=["sweeps", "sweeps that yield after each client"])
def test_no_byte_reaches_the_wrong_client(
    server_process: Callable[..., ServerProcess], loop: str, flags: list[str]
) -> None:
    """Thousands of connections close, reset, vanish, half-close and are aborted while two channels broadcast."""
    server = server_process("-m", "tests.churn_server", "{port}", loop, *flags)
    run = churn(server)
    assert run.wrong == []
    assert run.started >= CHURNED
    assert set(run.endings) >= {"close", "reset", "vanish", "ended"}, "an ending was not exercised"
    sys.stdout.write(f"{run.started} connections, {run.received} bytes, {dict(run.endings)}\n")  # seen with -s
    server.stop()
    assert "Traceback" not in server.log, server.log


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_planted_fault_is_caught(server_process: Callable[..., ServerProcess], loop: str) -> None:
    """A server whose clients leave one turn too late sends somebody bytes of another: this very check sees it."""
    server = server_process("-m", "tests.churn_server", "{port}", loop, "--leave-too-late")
    assert churn(server).wrong != []

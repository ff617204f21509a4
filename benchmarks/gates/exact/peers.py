"""Connections to a server on loopback, as bytes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.harness import SPARE, allow_descriptors

_SECONDS = 60.0  # after which a server that does not answer is given up


def opened(port: int) -> socket.socket:
    """A connection that has sent nothing."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def connect(port: int, path: str, *, subprotocol: str = "") -> socket.socket:
    """A WebSocket after its handshake."""
    peer = opened(port)
    offer = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    peer.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{offer}"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    _read_head(peer, "101")
    return peer


def stream(port: int, path: str) -> socket.socket:
    """An event stream that has begun."""
    peer = opened(port)
    peer.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode())
    _read_head(peer, "200")
    return peer


def post(peer: socket.socket, path: str, payload: bytes) -> None:
    """Publishes over HTTP, on a connection that stays, and waits for the answer."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: {len(payload)}\r\n"
    peer.sendall(head.encode() + b"\r\n" + payload)
    answer = b""
    while b"}" not in answer.partition(b"\r\n\r\n")[2]:
        answer += _some(peer)
    if not answer.startswith(b"HTTP/1.1 2"):
        raise RuntimeError(f"the server has answered {answer!r}")


def read(peer: socket.socket, size: int) -> bytes:
    """So many bytes."""
    data = b""
    while len(data) < size:
        data += _some(peer)
    return data


def read_until(peer: socket.socket, end: bytes, times: int = 1) -> bytes:
    """What comes, until `end` has come so many times."""
    data = b""
    while data.count(end) < times:
        data += _some(peer)
    return data


def op(fields: dict[str, object]) -> bytes:
    """A message of the JSON dialect, in one frame."""
    from benchmarks.wire import masked  # noqa: PLC0415 - it imports the server

    return masked(json.dumps(fields).encode())


def _read_head(peer: socket.socket, status: str) -> None:
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += _some(peer, 1)
    if not answer.startswith(f"HTTP/1.1 {status}".encode()):
        raise RuntimeError(f"the server has answered {answer!r}")


def _some(peer: socket.socket, most: int = 1 << 16) -> bytes:
    data = peer.recv(most)
    if not data:
        raise RuntimeError("the server has closed a connection")
    return data


@contextmanager
def crowd(count: int) -> Iterator[ExitStack]:
    """Where so many connections are kept, which end with it."""
    allow_descriptors(count + SPARE)
    with ExitStack() as kept:
        yield kept

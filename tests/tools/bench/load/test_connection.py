from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from websockets.utils import accept_key

from fanwise.tools.bench.errors import BenchFailedError
from fanwise.tools.bench.load.connection import Connection, resolve
from fanwise.tools.bench.load.engine import Engine
from fanwise.tools.load.wire import Handshake


class Opening:
    """A connection that is being opened to a listener which the test plays."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.engine = Engine(on_controls=lambda _fd, _controls: None, on_lost=lambda _fd, _cause: None)
        self.url = urlsplit(f"ws://127.0.0.1:{self.listener.getsockname()[1]}/")
        self.opened: list[bytes] = []
        self.failed: list[str] = []

    def begin(self) -> Connection:
        return Connection(
            self.engine,
            handshake=Handshake(self.url, subprotocol=None),
            address=resolve(self.url),
            receive_buffer_bytes=None,
            on_open=lambda _connection, rest: self.opened.append(rest),
            on_fail=lambda _connection, reason: self.failed.append(reason),
        )

    def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self.engine.turn(1)


@pytest.fixture
def opening() -> Iterator[Opening]:
    made = Opening()
    yield made
    made.engine.close()
    made.listener.close()


def test_what_comes_behind_the_handshake_is_kept(opening: Opening) -> None:
    """The first frames may arrive in the same packet as the answer, and the answer in pieces."""
    connection = opening.begin()
    opening.engine.turn(1)
    peer, _ = opening.listener.accept()
    request = peer.recv(65_536).decode()
    key = request.partition("Sec-WebSocket-Key: ")[2].partition("\r\n")[0]
    answer = f"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept_key(key)}\r\n\r\n\x01\x02"
    peer.sendall(answer[:30].encode())
    opening.engine.turn(1)
    assert not opening.opened
    peer.sendall(answer[30:].encode())
    opening.until(lambda: opening.opened)
    assert opening.opened == [b"\x01\x02"]
    connection.close()
    peer.close()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\n", "503 Service Unavailable"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "Sec-WebSocket-Accept"),
        (b"HTTP/1.1 101 Swi", "half-way"),
        (b"x" * 20_000, "half-way"),
    ],
)
def test_a_refusal_is_told(opening: Opening, answer: bytes, says: str) -> None:
    """In a sentence, whatever the server does instead of opening."""
    opening.begin()
    opening.engine.turn(1)
    peer, _ = opening.listener.accept()
    with closing(peer):
        peer.recv(65_536)
        peer.sendall(answer)
        peer.shutdown(socket.SHUT_WR)
        opening.until(lambda: opening.failed)
    assert says in opening.failed[0]


def test_a_host_that_is_none() -> None:
    """Is named."""
    with pytest.raises(BenchFailedError, match=r"nowhere\.invalid is no host"):
        resolve(urlsplit("ws://nowhere.invalid/"))


def test_nobody_listens(opening: Opening) -> None:
    """Is told, too."""
    opening.listener.close()
    opening.begin()
    opening.until(lambda: opening.failed)
    assert opening.failed == ["cannot connect: ECONNREFUSED"]

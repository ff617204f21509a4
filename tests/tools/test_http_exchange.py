from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from urllib.parse import urlsplit

import h11
import pytest

from fanwise.tools.doctor.probe import Probe
from fanwise.tools.http_exchange import MOST_HEAD_BYTES, NotHTTPError, exchange
from fanwise.tools.remote import Remote, UnreachableError

PATIENCE_SECONDS = 0.1  # short, and many times as long as the time between two drops
DROPS = 500


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that takes one connection, reads once, and has the rest done by `answer`: its URL."""

    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer, suppress(OSError):  # nobody listens any more
            peer.recv(65_536)
            answer(peer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join()


@contextmanager
def dripping(said: bytes, drops: bytes) -> Iterator[str]:
    """A server that says something at once, and then `drops` byte by byte, until nobody listens: its URL."""
    done = threading.Event()

    def answer(peer: socket.socket) -> None:
        peer.sendall(said)
        for drop in drops:
            peer.sendall(bytes([drop]))
            if done.wait(0.01):
                break

    with answering(answer) as url:
        try:
            yield url
        finally:
            done.set()


def saying(said: bytes) -> AbstractContextManager[str]:
    """A server that gives one answer to one connection, and closes it: its URL."""

    def answer(peer: socket.socket) -> None:
        peer.sendall(said)
        peer.shutdown(socket.SHUT_WR)
        peer.recv(1)  # until the other side has read what it wants

    return answering(answer)


HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {DROPS}\r\n\r\n".encode()
BODY = b'"' + b"x" * (DROPS - 2) + b'"'


@pytest.mark.parametrize(
    ("said", "drops"),
    [(HEAD, BODY), (b"HTTP/1.1 200 OK\r\nX-Name: ", BODY), (b"", b"HTTP/1.1 200 OK\r\nX-Name: " + BODY)],
    ids=["body", "head", "status"],
)
def test_an_answer_that_drips_is_not_waited_for(said: bytes, drops: bytes) -> None:
    """Each byte comes in time; the answer does not."""
    with dripping(said, drops) as url, pytest.raises(UnreachableError, match="it took longer than"):
        Remote(url, patience_seconds=PATIENCE_SECONDS).get("/stats")


@pytest.mark.parametrize("kind", ["event_stream", "silent", "websocket"])
def test_nor_is_a_handshake_that_drips(kind: str) -> None:
    """Whatever kind of client asks."""

    def opened(probe: Probe) -> None:
        with probe.websocket() if kind == "websocket" else getattr(probe, kind)("news"):
            pass

    with dripping(b"HTTP/1.1 200 OK\r\nX-Name: ", BODY) as url:
        probe = Probe(Remote(url, patience_seconds=PATIENCE_SECONDS))
        with pytest.raises(UnreachableError, match="it took longer than"):
            opened(probe)


def asked(url: str, *, most_bytes: int = 1000, seconds: float = 60.0) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    parts = urlsplit(url)
    request = h11.Request(method="GET", target="/", headers=[("Host", parts.netloc)])
    with exchange((parts.hostname or "", parts.port or 0), request, context=None, seconds=seconds) as answer:
        return answer.status, answer.read_body(most_bytes=most_bytes)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["length", "chunks", "until the end", "behind a hint"],
)
def test_an_answer_is_read_to_its_end(said: bytes) -> None:
    """However its end is told (RFC 9112 section 6.3)."""
    with saying(said) as url:
        assert asked(url) == (200, b"hello")


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "another protocol"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * MOST_HEAD_BYTES, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, "more than 1,000 bytes"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "not HTTP"),
    ],
    ids=["protocol", "header", "long head", "cut", "long body", "unasked upgrade"],
)
def test_other_answers_are_named(said: bytes, says: str) -> None:
    """An answer that is no HTTP, or longer than allowed, is no answer."""
    with saying(said) as url, pytest.raises(NotHTTPError, match=says):
        asked(url)


def test_another_protocol_is_not_waited_for() -> None:
    """The first bytes tell, although the connection stays open."""
    with dripping(b"220 mail.example ESMTP\r\n", BODY) as url, pytest.raises(NotHTTPError, match="another protocol"):
        asked(url)


def test_a_deadline_that_is_over() -> None:
    """Ends the exchange before anything is sent."""
    with saying(b"") as url, pytest.raises(TimeoutError):
        asked(url, seconds=1e-9)

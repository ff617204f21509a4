from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fanwise.tools.deadline import Answer, Deadline
from fanwise.tools.doctor.probe import Probe
from fanwise.tools.remote import Remote, UnreachableError

PATIENCE_SECONDS = 0.1  # short, and many times as long as the time between two drops
DROPS = 500


@contextmanager
def dripping(said: bytes, drops: bytes) -> Iterator[str]:
    """A server that says something at once, and then `drops` byte by byte, until nobody listens: its URL."""
    done = threading.Event()

    def answer(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65_536)
            peer.sendall(said)
            try:
                for drop in drops:
                    peer.sendall(bytes([drop]))
                    if done.wait(0.01):
                        break
            except OSError:  # nobody listens any more
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            done.set()
            thread.join()


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


def test_a_deadline_that_is_over_lets_nobody_wait() -> None:
    """Not even for what is there already; before, the time that is left is what the next call may take."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Deadline(60.0).apply(ours)
        left_seconds = ours.gettimeout()
        assert left_seconds is not None
        assert 0 < left_seconds <= 60.0
        with pytest.raises(TimeoutError):
            Deadline(0.0).apply(ours)


def test_an_answer_in_time_is_read_as_ever() -> None:
    """Also when the connection that it came over is closed before it is read."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        with ours, Answer(ours, seconds=60.0) as answer:
            answer.begin()
            ours.close()
            assert answer.read() == b"hello"
        assert theirs.recv(1) == b""

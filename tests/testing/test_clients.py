"""The clients: what they read, when, and how they leave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from websockets.sync.server import ServerConnection, serve

from fanwise.testing import HandshakeError, ReadingClient, Server


@contextmanager
def handling(handler: Callable[[ServerConnection], None]) -> Iterator[str]:
    """The URL of a server of another make, which calls `handler` with each connection."""
    with serve(handler, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        server.shutdown()
        thread.join()


def test_a_client_reads_and_answers() -> None:
    """Text, binary, fragments, pings, and the close frame."""

    def handler(connection: ServerConnection) -> None:
        assert connection.ping(b"there?").wait(10)
        connection.send("text")
        connection.send(b"binary")
        connection.send(["frag", "ment", "ed"])
        connection.send(f"{connection.recv()!s} again")
        connection.close(4321, "enough")

    with handling(handler) as url, ReadingClient(url) as client:
        assert [client.receive() for _ in range(3)] == ["text", b"binary", "fragmented"]
        client.send("hello")
        assert client.receive() == "hello again"
        assert client.wait_closed() == 4321
        with pytest.raises(AssertionError, match=r"waited for a message.*4, the latest 'hello again': .*4321 'enough'"):
            client.receive()


def test_waits_end(fanwise_server: Server) -> None:
    """And say what has come until then."""
    client = fanwise_server.reading_client()
    client.send("one")
    assert client.receive() == "Message: one"
    for wait in (lambda: client.wait_for(2, within_seconds=0.01), lambda: client.receive(within_seconds=0.01)):
        with pytest.raises(AssertionError, match=r"and has got 1, the latest 'Message: one': waited 0.01 s"):
            wait()
    with pytest.raises(AssertionError, match=r"was not closed within 0.01 s, and has got 1"):
        client.wait_closed(within_seconds=0.01)
    with pytest.raises(AssertionError, match=r"the condition did not hold within 0.01 s"):
        fanwise_server.wait_until(lambda: False, within_seconds=0.01)


def test_a_refusal_has_status_and_body(fanwise_server: Server) -> None:
    """No client is left behind."""
    with pytest.raises(HandshakeError, match=r"was answered with 403 instead of 101: .*origin") as caught:
        fanwise_server.stalled_client(headers={"Origin": "https://example.com"})
    assert caught.value.status == 403
    assert fanwise_server.clients == []


@pytest.mark.broadcaster(queue_messages=10_000)
def test_paces(fanwise_server: Server) -> None:
    """Nothing, so many bytes a second, all after a pause; and all of what was published, in the end."""
    stalled = fanwise_server.stalled_client()
    slow, begun = fanwise_server.slow_client(rate=50_000), time.monotonic()
    pausing = fanwise_server.pausing_client(seconds=0.5)
    texts = fanwise_server.burst_publisher(50, size=1000)
    assert slow.wait_for(50) == texts
    assert time.monotonic() - begun >= 0.9
    assert pausing.wait_for(50) == texts
    assert pausing.arrivals[0].seconds - begun >= 0.5
    assert stalled.arrivals == []
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="is in bytes per second, and positive"):
            fanwise_server.slow_client(rate=wrong)
    with pytest.raises(ValueError, match="a pause lasts 0 seconds or more"):
        fanwise_server.pausing_client(seconds=-1)


def test_clients_leave(fanwise_server: Server) -> None:
    """With a closing handshake or without; a client that is closed twice has left once."""
    closed = fanwise_server.reading_client()
    closed.close()
    closed.close()
    fanwise_server.vanishing_client()
    broadcaster = fanwise_server.broadcaster
    fanwise_server.wait_until(lambda: len(broadcaster) == 0)
    assert fanwise_server.call(broadcaster.statistics).closed == {"normal": 1, "lost": 1}
    assert fanwise_server.clients == []

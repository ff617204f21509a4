from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from fanwise.tools.doctor.probe import Probe, received_bytes
from fanwise.tools.remote import ForeignError, KeyRefusedError, Remote, RemoteError, UnreachableError

from ...support.documents import document
from ...support.processes import ServerProcess, free_port
from ..test_remote import answering

SERVE = ("-m", "fanwise", "serve", "--port", "{port}")


def test_clients_of_all_kinds(server_process: Callable[..., ServerProcess]) -> None:
    """Each is on the channel while its context lasts, and knows its key."""
    server = server_process(*SERVE, FANWISE_API_KEY="correct-horse")
    probe = Probe(Remote(f"http://127.0.0.1:{server.port}", api_key="correct-horse"))
    channel = probe.private_channel()
    assert channel != probe.private_channel()
    with probe.websocket() as websocket, probe.event_stream(channel), probe.silent(channel) as peer:
        own = probe.subscribe(websocket, channel)
        clients = probe.await_clients(channel, count=3)
        assert {client["dialect"] for client in clients.values()} == {"plain", "sse", "fanwise.v1"}
        assert clients[own]["dialect"] == "fanwise.v1"
        probe.remote.post(f"/publish/{channel}", b"hello")
        probe.expect(websocket, "message")
        assert peer.recv(100) == b"\x81\x05hello"
    assert probe.await_clients(channel, count=0) == {}


def test_what_a_peer_has_not_read(server_process: Callable[..., ServerProcess]) -> None:
    """Lies in its kernel, frame headers included."""
    server = server_process(*SERVE)
    probe = Probe(Remote(f"http://127.0.0.1:{server.port}"))
    channel = probe.private_channel()
    with probe.websocket() as websocket, probe.silent(channel) as peer:
        probe.subscribe(websocket, channel)
        probe.await_clients(channel, count=2)
        assert received_bytes(peer) == 0
        probe.remote.post(f"/publish/{channel}", b"x" * 1000)
        probe.expect(websocket, "message")
        while not received_bytes(peer):
            pass
        assert received_bytes(peer) == 1004


def test_a_dialect_that_is_not_spoken(server_process: Callable[..., ServerProcess]) -> None:
    """A WebSocket server of another kind, and other messages than expected."""
    rival = server_process("-m", "uvicorn", "fanwise.tools.bench.run.baselines:tutorial", "--port", "{port}")
    probe = Probe(Remote(f"http://127.0.0.1:{rival.port}"))
    with pytest.raises(ForeignError, match=r"does not speak fanwise\.v1"), probe.websocket():
        pass
    ours = server_process(*SERVE)
    probe = Probe(Remote(f"http://127.0.0.1:{ours.port}"))
    with probe.websocket() as websocket, pytest.raises(ForeignError, match="it says 'welcome' where 'message' should"):
        probe.expect(websocket, "message")


def test_a_full_server(server_process: Callable[..., ServerProcess]) -> None:
    """Takes nobody in: a sentence, whichever way we come."""
    server = server_process(*SERVE, FANWISE_MAX_CLIENTS="1")
    probe = Probe(Remote(f"http://127.0.0.1:{server.port}"))
    with probe.websocket() as websocket:
        probe.subscribe(websocket, "news")
        for connection in (probe.websocket(), probe.event_stream("news"), probe.silent("news")):
            with pytest.raises(UnreachableError, match="takes nobody in now"), connection:
                pass


def test_a_wrong_key(server_process: Callable[..., ServerProcess]) -> None:
    """Is refused at the handshake."""
    server = server_process(*SERVE, FANWISE_API_KEY="correct-horse")
    probe = Probe(Remote(f"http://127.0.0.1:{server.port}", api_key="battery-staple"))
    for connection in (probe.websocket(), probe.silent("news")):
        with pytest.raises(KeyRefusedError, match="refuses the key"), connection:
            pass


@pytest.mark.parametrize("kind", ["websocket", "event_stream", "silent"])
def test_what_cannot_be_connected_to(kind: str) -> None:
    """A port that nothing listens on, and a web server that knows no WebSockets."""

    def opened(url: str) -> None:
        probe = Probe(Remote(url))
        with probe.websocket() if kind == "websocket" else getattr(probe, kind)("news"):
            pass

    with pytest.raises(UnreachableError, match="nothing listens there"):
        opened(f"http://127.0.0.1:{free_port()}")
    with answering(404, b"") as (url, _), pytest.raises(ForeignError, match="status 404"):
        opened(url)


def test_clients_that_are_not_listed() -> None:
    """Another /clients than ours."""
    with answering(200, json.dumps(document(clients=[])).encode()) as (url, _), pytest.raises(RemoteError):
        Probe(Remote(url), patience_seconds=0).await_clients("news", count=1)

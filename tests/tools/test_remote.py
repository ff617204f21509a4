from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import trustme

from fanwise.tools.remote import (
    AddressError,
    ForeignError,
    KeyRefusedError,
    Remote,
    UnreachableError,
    check_url,
    describe,
)

from ..support.documents import document
from ..support.processes import ServerProcess, free_port


@contextmanager
def answering(
    status: int, body: bytes | Callable[[], bytes], context: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[Any]]]:
    """A web server that gives one answer to everything, or a new one each time: (its URL, the requests that it got)."""
    requests: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            requests.append((self.command, self.path, dict(self.headers)))
            self._answer()

        def do_POST(self) -> None:
            requests.append((self.command, self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer()

        def _answer(self) -> None:
            text = body if isinstance(body, bytes) else body()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_real_server_is_understood(server_process: Callable[..., ServerProcess]) -> None:
    """The document at /stats, with a key if there is one; a message is published and its position answered."""
    server = server_process("-m", "fanwise", "serve", "--port", "{port}", FANWISE_API_KEY="correct-horse")
    url = f"http://127.0.0.1:{server.port}"
    remote = Remote(url, api_key="correct-horse")
    assert remote.stats()["server"]["pid"] == server.pid
    assert remote.post("/publish/news", b"hello")["offset"] == 1
    for key, says in ((None, "asks for its key"), ("battery-staple", "refuses the key")):
        with pytest.raises(KeyRefusedError, match=says) as refused:
            Remote(url, api_key=key).stats()
        assert str(refused.value).startswith(url)
        assert "battery-staple" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (404, b"{}", ForeignError, "status 404"),
        (200, b"<html>", ForeignError, "not JSON"),
        (200, b"\xff", ForeignError, "not JSON"),
        (200, b"[" * 100_000, ForeignError, "not JSON"),
        (200, b"[]", ForeignError, "no version"),
        (200, b'{"version": 2}', ForeignError, "version '2', this command knows 1"),
        (503, b"", UnreachableError, "takes nobody in"),
        (403, b"", KeyRefusedError, "asks for its key"),
        (403, b'{"error": {"code": "bad_host", "message": "no"}}', UnreachableError, "FANWISE_ALLOWED_HOSTS"),
        (403, b'{"error": ["bad_host"]}', KeyRefusedError, "asks for its key"),
        (404, b"x" * 100_000, ForeignError, "status 404"),
        (429, b"", UnreachableError, "takes no more from this address"),
    ],
)
def test_what_is_no_server_of_ours_is_told_in_a_sentence(
    status: int, body: bytes, error: type[Exception], says: str
) -> None:
    """With the URL, whatever it answers."""
    with answering(status, body) as (url, _), pytest.raises(error, match=says) as caught:
        Remote(url).stats()
    assert url in str(caught.value)


def test_a_server_below_a_path() -> None:
    """The path of the URL stands before all others, for WebSockets as well."""
    with answering(200, json.dumps(document()).encode()) as (url, requests):
        remote = Remote(f"{url}/fan/")
        assert remote.stats() == document()
        remote.post("/publish/a", b"x")
    assert [(method, path) for method, path, _ in requests] == [("GET", "/fan/stats"), ("POST", "/fan/publish/a")]
    assert remote.websocket_url("/ws") == f"{url}/fan/ws".replace("http", "ws")


def test_nobody_there() -> None:
    """A port that nothing listens on."""
    with pytest.raises(UnreachableError, match="nothing listens there"):
        Remote(f"http://127.0.0.1:{free_port()}").stats()
    with pytest.raises(UnreachableError, match="no such host"):
        Remote(f"http://{'a' * 64}.invalid").stats()


def test_no_http_there() -> None:
    """Another protocol, and a connection that is cut at once."""
    for said, error in ((b"SSH-2.0-OpenSSH_9.2\r\n", ForeignError), (b"", UnreachableError)):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer(listener: socket.socket = listener, said: bytes = said) -> None:
                peer, _ = listener.accept()
                with peer:
                    peer.recv(65_536)
                    peer.sendall(said)

            thread = threading.Thread(target=answer)
            thread.start()
            with pytest.raises(error):
                Remote(f"http://127.0.0.1:{listener.getsockname()[1]}").stats()
            thread.join()


def test_certificates_are_checked() -> None:
    """As the system does it, unless the caller knows better."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with answering(200, json.dumps(document()).encode(), context) as (url, _):
        assert Remote(url, context=trusting).stats() == document()
        with pytest.raises(UnreachableError, match="certificate cannot be trusted"):
            Remote(url).stats()
        with pytest.raises((UnreachableError, ForeignError)):
            Remote(url.replace("https", "http")).stats()


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8000", "ws://h/", "http://", "http://h:0", "http://h:99999", "http://h/?a=b", "http://h/a b",
     "http://h/\n", "http://u:p@h/", "http://h/#x", "http://[::1", "http://\u212a"],
)  # fmt: skip
def test_urls_that_cannot_be_used(url: str) -> None:
    """Are named, with one that can."""
    with pytest.raises(AddressError, match=r"it takes a URL such as http://127\.0\.0\.1:8000"):
        check_url(url)


@pytest.mark.parametrize("api_key", ["", "two words", "a\r\nb", "grüße"])
def test_keys_that_fit_into_no_header(api_key: str) -> None:
    """Are refused before anything is sent, and not repeated."""
    with pytest.raises(AddressError, match="visible ASCII") as refused:
        Remote("http://127.0.0.1:1", api_key=api_key)
    assert not api_key or api_key not in str(refused.value)


def test_troubles_in_words() -> None:
    """Without numbers of the system."""
    assert describe(TimeoutError()) == "it took longer than 10 s"
    assert describe(socket.gaierror(-2, "Name or service not known")) == "there is no such host"
    assert describe(OSError(113, "No route to host")) == "No route to host"

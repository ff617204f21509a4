"""What issuers answer that are broken, or no longer their owner's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest
from jwt.algorithms import OKPAlgorithm

from fanwise.routes.auth.key_sets import MOST_BYTES, fetch_set, read_set

from .test_signing_keys import KEY, key_set

Answering = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def issuer(answer: Answering) -> Iterator[str]:
    """The URL of an issuer that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):
                answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/keys"
        server.shutdown()
        thread.join()


def with_body(body: bytes) -> Answering:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_a_set_behind_a_url() -> None:
    with issuer(with_body(key_set("one", "two"))) as url:
        assert [key.key_id for key in fetch_set(url, seconds=60)] == ["one", "two"]


def test_an_answer_without_end_is_left() -> None:
    """After a quarter of a megabyte, however much there is: nothing of it is parsed."""
    sent = 0

    def answer(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        with_body(b'{"keys":[')(handler)
        for _ in range(100):
            handler.wfile.write(b'{"kty":"x"},' * 80_000)
            sent += 1

    with issuer(answer) as url, pytest.raises(ValueError, match=f"more than {MOST_BYTES} bytes"):
        fetch_set(url, seconds=60)
    assert sent < 100


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_an_answer_that_leads_elsewhere_is_refused(code: int) -> None:
    """Also on the same host: an https URL would lead to one that anybody can answer."""
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        handler.send_response(code)
        handler.send_header("Location", "/elsewhere")
        handler.end_headers()

    with issuer(answer) as url, pytest.raises(ValueError, match=rf"leads elsewhere \({code}\), to .*/elsewhere'"):
        fetch_set(url, seconds=60)
    assert asked == ["/keys"]


def test_an_answer_that_drips_ends_in_time() -> None:
    """However short the pauses between its bytes are."""
    ended = Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        with_body(b"")(handler)
        while not ended.wait(0.01):
            handler.wfile.write(b" ")

    with issuer(answer) as url:
        with pytest.raises(TimeoutError, match=r"not whole after 0.2 s"):
            fetch_set(url, seconds=0.2)
        ended.set()


@pytest.mark.parametrize(
    ("body", "why"),
    [(b"<html>", "no key set"), (b"\xff", "utf-8"), (b"[" * 100_000, "no key set"), (b"", "no key set")],
)
def test_an_answer_that_is_no_set(body: bytes, why: str) -> None:
    with issuer(with_body(body)) as url, pytest.raises(ValueError, match=why):
        fetch_set(url, seconds=60)


def test_a_file_is_read_up_to_its_bound(tmp_path: Any) -> None:
    path = tmp_path / "keys"
    jwk = json.loads(OKPAlgorithm.to_jwk(KEY.public_key()))
    path.write_text(json.dumps({"keys": [jwk] * 5_000}))
    with pytest.raises(ValueError, match="no key set"):
        read_set(str(path))

"""Keys of tokens: out of a file, and out of a set behind a URL that changes."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.request import urlopen

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import OKPAlgorithm

from fanwise.errors import SettingsError
from fanwise.routes.auth.signing_keys import ChangingKeys, fetched_keys, open_key, open_key_file, open_key_set

from ...support.live import until

KEY = ed25519.Ed25519PrivateKey.generate()


def key_set(*names: str) -> bytes:
    jwk = json.loads(OKPAlgorithm.to_jwk(KEY.public_key()))
    return json.dumps({"keys": [{**jwk, "kid": name} for name in names]}).encode()


class Issuer(ThreadingHTTPServer):
    """Gives out its key set."""

    daemon_threads = True

    def __init__(self) -> None:
        self.keys = key_set("old")
        self.asked = 0
        super().__init__(("127.0.0.1", 0), self._Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/keys"

    class _Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer = self.server
            assert isinstance(issuer, Issuer)
            issuer.asked += 1
            self.send_response(200)
            self.end_headers()
            self.wfile.write(issuer.keys)

        def log_message(self, *_: Any) -> None:
            pass


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as one:
        thread = Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.mark.anyio
async def test_a_new_key_is_fetched_when_a_token_names_it(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """Once, however many tokens name it; and a set that is broken for a while takes no key away."""
    async with fetched_keys(issuer.url, again_seconds=0) as keys:
        assert len(keys.find("old", "EdDSA")) == 1
        issuer.keys = key_set("old", "new")
        assert [len(keys.find("new", "EdDSA")) for _ in range(100)] == [0] * 100
        await until(lambda: len(keys.find("new", "EdDSA")) == 1)
        issuer.keys = b"<html>"
        with caplog.at_level(logging.WARNING):
            assert not keys.find("newest", "EdDSA")
            await until(lambda: "cannot be fetched" in caplog.text)
        assert len(keys.find("new", "EdDSA")) == 1


@pytest.mark.anyio
async def test_unknown_keys_cannot_make_it_ask_often(issuer: Issuer) -> None:
    """A stranger may name as many as they like."""
    async with fetched_keys(issuer.url, again_seconds=3_600) as keys:
        for number in range(1_000):
            assert not keys.find(f"{number}", "EdDSA")
            await asyncio.sleep(0)
        await asyncio.to_thread(lambda: urlopen(issuer.url).close())  # behind a fetch, if there was one
        assert issuer.asked == 2


@pytest.mark.anyio
async def test_an_issuer_that_says_nothing(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start waits for so long, and the end of the process does not wait at all."""
    monkeypatch.setattr("fanwise.routes.auth.signing_keys.FETCH_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as deaf, caplog.at_level(logging.WARNING):
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/keys"
        async with fetched_keys(url) as keys:
            assert not keys.find("any", "EdDSA")
    assert "no answer within 0.01 s" in caplog.text


@pytest.mark.anyio
async def test_a_file_that_changes(tmp_path: Path) -> None:
    """Keys are taken out as well."""
    path = tmp_path / "keys"
    path.write_bytes(key_set("one"))
    keys = open_key_set(str(path))
    keys._again_seconds = 0  # type: ignore[attr-defined]  # in place of two seconds
    async with keys, keys:
        assert len(keys.find("one", "EdDSA")) == 1
        path.write_bytes(key_set("two"))
        await until(lambda: bool(keys.find("two", "EdDSA")))
        assert not keys.find("one", "EdDSA")


@pytest.mark.anyio
async def test_a_reading_that_does_not_end_is_the_only_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer that sends its answer byte by byte has one thread, and the keys before stay in force."""
    monkeypatch.setattr("fanwise.routes.auth.signing_keys.FETCH_SECONDS", 0.05)
    end, readings = Event(), 0

    def read() -> list[str]:
        nonlocal readings
        readings += 1
        if readings > 1:
            end.wait(60)
        return ["a key"]

    keys = ChangingKeys("https://id.example", read, again_seconds=0)
    with caplog.at_level(logging.WARNING):
        async with keys:
            keys._keys = ()
            await until(lambda: bool(keys.find("new", "HS256")) or "the reading before has not ended" in caplog.text)
            assert readings == 2
            end.set()
            await until(lambda: bool(keys.find("new", "HS256")))


PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_set_in_a_file(tmp_path: Path) -> None:
    """Its keys are found by their IDs, and by their algorithm."""
    path = tmp_path / "keys"
    path.write_bytes(key_set("one", "two"))
    assert len(open_key_set(str(path)).find(None, "EdDSA")) == 2
    assert len(open_key_set(str(path)).find("two", "EdDSA")) == 1
    assert not open_key_set(str(path)).find(None, "RS256")


def test_one_key(tmp_path: Path) -> None:
    """A secret is for HS256, a public key for its own algorithm."""
    path = tmp_path / "key"
    path.write_bytes(PEM)
    for keys in (open_key_file(str(path)), open_key(PEM.decode())):
        assert (keys.algorithms, len(keys.find("any", "EdDSA"))) == (("EdDSA",), 1)
    path.write_text("a secret of thirty-two bytes.....\n")
    assert open_key_file(str(path)).find(None, "HS256") == ["a secret of thirty-two bytes....."]


PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("short", "at least 32 bytes"),
        (PRIVATE, "no public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no public key"),
    ],
)
def test_a_key_that_is_none(key: str, why: str) -> None:
    """The error quotes nothing of it."""
    with pytest.raises(SettingsError, match=why) as error:
        open_key(key)
    assert key.replace("-----BEGIN PUBLIC KEY-----", "").strip()[:40] not in str(error.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"hello", "no key set"),
        (b"[]", "no key set"),
        (b"7", "no key set"),
        (b"[" * 100_000, "no key set"),
        (b'{"keys": []}', "no key set"),
        (b'{"keys": [{"kty": "new"}]}', "no key set"),
        (PEM, "no key set"),
        (b"\xff", "utf-8"),
        (None, "No such file"),
    ],
)
def test_a_file_without_keys(tmp_path: Path, content: bytes | None, why: str) -> None:
    """The error names the file, and what is wrong."""
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=why) as error:
        open_key_set(str(path))
    assert str(path) in str(error.value)


@pytest.mark.parametrize("url", ["http://id.example/keys", "ftp://127.0.0.1/keys"])
def test_a_url_that_others_can_answer_for(url: str) -> None:
    """Who can change the answer can sign tokens."""
    with pytest.raises(SettingsError, match="https"):
        open_key_set(url)


def test_a_url_with_a_password() -> None:
    """Which would stand in the log."""
    with pytest.raises(SettingsError, match="no user") as error:
        open_key_set("https://ann:hidden@id.example/keys")
    assert "hidden" not in str(error.value)

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from fanwise.backplane.nats.address import parse
from fanwise.backplane.nats.dial import ApiError, api, dial, read_answer
from fanwise.backplane.nats.link import Delivery, Link, LinkError
from fanwise.errors import SettingsError

from ...support.nats import NatsServer, nats_server

pytestmark = pytest.mark.anyio


async def dialled(url: str, attempt: int = 0) -> Link:
    return await dial(parse(url), attempt, "a test", lambda _: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "cert.pem")
    return folder


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[NatsServer]:
    """A server with a password and TLS."""
    config = f"""
        tls {{ cert_file: "{folder}/cert.pem", key_file: "{folder}/cert.pem" }}
        authorization {{ user: app, password: word }}
    """
    with nats_server(config, scheme="tls", login="app:word@") as server:
        yield server


async def test_a_password_over_tls(guarded: NatsServer, folder: Path) -> None:
    """Both are needed; what is wrong is said, and is not tried again."""
    await guarded.ready()
    url = f"{guarded.url}?ca={folder}/ca.pem"
    link = await dialled(url)
    await api(link, "INFO")
    link.abort()
    with pytest.raises(SettingsError, match="Authorization Violation"):
        await dialled(url.replace("word@", "other@"))
    with pytest.raises(ssl.SSLCertVerificationError):
        await dialled(guarded.url)
    plain = parse(url)
    link = await dial(replace(plain, tls=False), 0, "a test", lambda _: None)  # it demands what we have not asked for
    link.abort()


async def test_a_server_without_tls(server: NatsServer) -> None:
    """Nothing is sent to it: the password would be read by all."""
    await server.ready()
    with pytest.raises(SettingsError, match="has no TLS"):
        await dialled(server.url.replace("nats://", "tls://app:word@"))


async def test_servers_are_tried_in_turn(server: NatsServer) -> None:
    """Another one with each attempt."""
    await server.ready()
    url = f"nats://127.0.0.1:1,127.0.0.1:{server.port}"
    with pytest.raises(OSError, match="refused"):
        await dialled(url, 0)
    for attempt in (1, 3):
        (await dialled(url, attempt)).abort()


@pytest.fixture
async def old() -> AsyncIterator[int]:
    """A server of a version that is too old."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version": "2.9.25", "headers": true}\r\n')
        await reader.readuntil(b"PING\r\n")
        writer.write(b"PONG\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_an_old_server_is_refused(old: int) -> None:
    """With its version, and what will do."""
    with pytest.raises(SettingsError, match=r"nats-server 2\.9\.25; 2\.10 and later"):
        await dialled(f"nats://127.0.0.1:{old}")


async def test_answers_that_are_errors(server: NatsServer) -> None:
    """Of JetStream, with its code, and of the server if nobody answers."""
    async with server.link() as link:
        with pytest.raises(ApiError, match="stream not found") as caught:
            await api(link, "STREAM.INFO.nothing")
        assert (caught.value.status, caught.value.code) == (404, 10059)
        with pytest.raises(ApiError, match="does not answer") as caught:
            read_answer(await link.ask("nobody.is.here"))
        assert caught.value.status == 503
        with pytest.raises(ApiError, match="does not answer"):  # of a leader that steps down
            read_answer(Delivery(b"_INBOX.1", b"", 0, b"", b""))
        link.abort()
        with pytest.raises(LinkError):
            await api(link, "INFO")

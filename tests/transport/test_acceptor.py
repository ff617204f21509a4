from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
import trustme

from fanwise.transport import acceptor as module
from fanwise.transport.acceptor import ACCEPTS_PER_TURN, Acceptor, Descriptors, LentDescriptor
from fanwise.transport.places import Place, PlaceLimits, Places

from ..support.live import until

pytestmark = pytest.mark.anyio
PLENTY = Descriptors(1 << 20)


class Echo(asyncio.Protocol):
    """Sends back what comes, and is in `open` while it is connected."""

    def __init__(self, open_: set[Echo], place: Place) -> None:
        self._open = open_
        self.place = place
        self.made_in = asyncio.current_task()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's do not inherit from asyncio's
        self._open.add(self)
        self.place.end = self.transport.abort

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)


class Door:
    """An acceptor on a free port, its places and its protocols."""

    def __init__(self, descriptors: Descriptors, tls: ssl.SSLContext | None, **limits: int) -> None:
        self.open: set[Echo] = set()
        self.places = Places(PlaceLimits(**limits), count=lambda _: None, exempt=lambda _: False)  # type: ignore[arg-type]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.acceptor = Acceptor(
            self.listener,
            lambda place, *_: Echo(self.open, place),
            places=self.places,
            descriptors=descriptors,
            tls=tls,
        )

    @property
    def taken(self) -> int:
        """Connections that count."""
        return sum(known.connections for known in self.places._addresses.values())


@asynccontextmanager
async def door(
    descriptors: Descriptors = PLENTY, *, tls: ssl.SSLContext | None = None, **limits: int
) -> AsyncIterator[Door]:
    it = Door(descriptors, tls, **limits)
    try:
        yield it
    finally:
        it.acceptor.close()
        await it.acceptor.wait_closed()
        for echo in list(it.open):
            echo.transport.abort()
        await until(lambda: not it.taken)
        it.listener.close()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts: the server's, and one that trusts it."""
    authority, file = trustme.CA(), tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    server.load_cert_chain(file)
    authority.configure_trust(client)
    return server, client


async def test_a_connection_has_its_place_until_its_descriptor_is_closed() -> None:
    """Whoever ends it, and whatever its protocol."""
    async with door() as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert it.taken == 1
        writer.close()
        await until(lambda: it.taken == 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        await until(lambda: len(it.open) == 1)
        next(iter(it.open)).transport.close()
        assert await reader.read() == b""
        assert it.taken == 0
        writer.close()


async def test_a_plain_connection_is_opened_without_a_task() -> None:
    """A task per connection takes three turns, where opening a transport takes one."""
    async with door() as it:
        _, writer = await asyncio.open_connection("127.0.0.1", it.port)
        await until(lambda: bool(it.open))
        assert [echo.made_in for echo in it.open] == [None]
        writer.close()


async def test_one_too_many_is_answered_and_closed() -> None:
    """Before there is a transport, whether its request is here already or not."""
    async with door(address_connections=1) as it:
        _, kept = await asyncio.open_connection("127.0.0.1", it.port)
        await until(lambda: it.taken == 1)
        for request in (b"", b"GET / HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(request)
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
            assert b"\r\nretry-after: 5\r\n" in head
            assert b"connection: close" in head
            message = "127.0.0.1 has the 1 connections that an address may have: come back later"
            assert json.loads(body) == {"error": {"code": "too_many_connections", "message": message}}
            writer.close()
        assert len(it.open) == 1
        kept.close()


async def test_a_turn_takes_in_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait: the loop turns between them."""
    async with door() as it:
        turns: list[int] = []
        started, start = 0, Acceptor._start

        def count(self: Acceptor, *args: object, **kwargs: object) -> None:
            nonlocal started
            started += 1
            start(self, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(Acceptor, "_start", count)
        peers = [socket.create_connection(("127.0.0.1", it.port)) for _ in range(100)]  # the loop stands still

        def turn() -> None:
            turns.append(started)
            if started < len(peers):
                asyncio.get_running_loop().call_soon(turn)

        turn()
        await until(lambda: len(it.open) == len(peers))
        steps = [after - before for before, after in pairwise(turns)]
        assert max(steps) == ACCEPTS_PER_TURN
        for peer in peers:
            peer.close()


async def test_without_descriptors_the_newest_get_in() -> None:
    """Those of the reserve that send nothing make room, one per turn, and their descriptors are free again."""
    with socket.socket() as probe:
        lowest = probe.fileno()
    scarce = Descriptors(1 << 20)
    scarce.short, scarce.reserve = lowest, 8
    async with door(scarce) as it:
        peers = []
        for _ in range(50):
            peers.append(await asyncio.open_connection("127.0.0.1", it.port))
            peers[-1][1].write(b"x")
            assert await peers[-1][0].readexactly(1) == b"x"
            assert it.taken <= scarce.reserve + 1
        await until(lambda: it.taken == scarce.reserve)
        for _, writer in peers:
            writer.close()


async def test_it_pauses_when_accepting_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line, no spinning; and it goes on by itself."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)
    async with door() as it:
        take, failed = it.acceptor._take, 0

        def fail() -> tuple[int, object]:
            nonlocal failed
            failed += 1
            raise OSError(24, "Too many open files")

        it.acceptor._take = fail
        _, writer = await asyncio.open_connection("127.0.0.1", it.port)
        await until(lambda: failed >= 3)
        told = "no connections are accepted for 0.05 s: Too many open files"
        assert sum(told in line for line in caplog.messages) == failed
        it.acceptor._take = take
        it.acceptor._retry.cancel()  # type: ignore[union-attr]
        asyncio.get_running_loop().add_reader(it.listener, it.acceptor._accept)
        await until(lambda: len(it.open) == 1)
        writer.close()


async def test_tls(certificate: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """A handshake as ever; one that fails, or is refused, leaves nothing behind."""
    server, client = certificate
    async with door(tls=server, address_connections=2) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port, ssl=client)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        other, plain = await asyncio.open_connection("127.0.0.1", it.port)
        await until(lambda: it.taken == 2)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await asyncio.open_connection("127.0.0.1", it.port, ssl=client)
        plain.write(b"GET / HTTP/1.1\r\n\r\n")
        await other.read()
        await until(lambda: it.taken == 1)
        plain.close()
        writer.close()


async def test_a_tls_handshake_has_a_deadline(
    certificate: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who never begins one is let go; closing ends one that has begun."""
    async with door(tls=certificate[0]) as it:
        _, stays = await asyncio.open_connection("127.0.0.1", it.port)
        await until(lambda: it.taken == 1)
        monkeypatch.setattr(module, "TLS_SECONDS", 0.1)
        reader, late = await asyncio.open_connection("127.0.0.1", it.port)
        with suppress(ConnectionResetError):
            await reader.read()
        await until(lambda: it.taken == 1)
        late.close()
        stays.close()


def test_descriptors_leave_room() -> None:
    """For requests, and for what the process itself opens; small limits are divided."""
    assert (Descriptors(1024).short, Descriptors(1024).reserve) == (960, 32)
    assert (Descriptors(64).short, Descriptors(64).reserve) == (48, 8)
    assert Descriptors(resource.RLIM_INFINITY).short > 10**6
    assert Descriptors.of_process().short <= Descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[0]).short


def test_a_descriptor_that_was_not_taken_is_closed_once() -> None:
    """The number is the next connection's after that, and must not be closed again."""
    places = Places(PlaceLimits(), count=lambda _: None, exempt=lambda _: False)
    number = os.open(os.devnull, os.O_RDONLY)
    lent = LentDescriptor(socket.AF_INET, number, places.enter("192.0.2.1"))
    lent.drop()
    assert sum(known.connections for known in places._addresses.values()) == 0
    assert os.open(os.devnull, os.O_RDONLY) == number  # accept(2) takes the lowest free number
    lent.drop()
    os.close(number)  # EBADF if it was closed twice

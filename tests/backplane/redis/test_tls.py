"""`rediss://` and a user of the engine's access list, as a hosted Redis has them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from fanwise.backplane.options import Options
from fanwise.backplane.urls import backplane_from

from ...support.backplanes import Node
from ...support.engines import RedisServer, redis_server
from ..checker.gate import tls_gate

pytestmark = pytest.mark.anyio

# What docs/operations/scaling.md gives a user: nothing but our keys and channels, and no command that is not needed.
RIGHTS = (
    *("resetchannels", "~fanwise:*", "&fanwise:*", "-@all", "+hello", "+auth", "+client|setname", "+info", "+wait"),
    *("+script|load", "+evalsha", "+subscribe", "+unsubscribe", "+publish", "+time", "+get", "+set", "+del"),
    *("+pexpire", "+hget", "+hmget", "+hset", "+rpush", "+lpop", "+lrange", "+xadd", "+xtrim", "+xrange", "+xrevrange"),
)


class Hosted(NamedTuple):
    """An engine behind TLS."""

    server: RedisServer
    port: int
    folder: Path


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server("--requirepass", "of the default user", "--user", "app", "on", ">wo:rd@", *RIGHTS) as server:
        yield server


@pytest.fixture
async def hosted(server: RedisServer, tmp_path: Path) -> AsyncIterator[Hosted]:
    """TLS ends before the engine, as the engine of the wheel is built without it. Asks for our certificate."""
    await server.ready()
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("app@fanwise").private_key_and_cert_chain_pem.write_to_path(tmp_path / "app.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    async with tls_gate(server.socket, context) as port:
        yield Hosted(server, port, tmp_path)


async def test_everything_goes_over_tls_with_few_rights(hosted: Hosted) -> None:
    """Publishing, opening and hearing, with a certificate of our own, and a user who has only what is documented."""
    files = f"ca={hosted.folder}/ca.pem&cert={hosted.folder}/app.pem"
    url = f"rediss://app:wo%3Ard%40@localhost:{hosted.port}?{files}"
    async with Node(backplane_from(url, Options())) as one, Node(backplane_from(url, Options())) as two:
        assert one.backplane.standing().up, one.backplane.standing()
        await two.open("lobby")
        last = [await one.publish("lobby", b"%d" % number) for number in range(5)][-1]
        await two.has(last)
        assert two.heard() == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("files", "why"), [("ca={0}/other.pem&cert={0}/app.pem", "certificate verify failed"), ("ca={0}/ca.pem", "")]
)
async def test_a_certificate_that_is_not_trusted(hosted: Hosted, files: str, why: str) -> None:
    """Neither theirs, nor ours where they ask for one: nothing is sent, and it is said why."""
    url = f"rediss://app:wo%3Ard%40@localhost:{hosted.port}?{files.format(hosted.folder)}"
    async with Node(backplane_from(url, Options())) as node:
        standing = node.backplane.standing()
        assert not standing.up
        assert why in standing.why

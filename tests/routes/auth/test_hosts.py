from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from fanwise.broadcaster.node import Node
from fanwise.core.codes import ErrorCode
from fanwise.routes import Access, build_router
from fanwise.routes.auth.hosts import LOOPBACK, Hosts

from ...support.live import app_of, running

EVIL = {"Host": "evil.com", "Origin": "http://evil.com"}  # as a browser sends them after DNS rebinding
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def connection(host: str | None) -> HTTPConnection:
    return HTTPConnection({"type": "http", "headers": [] if host is None else [(b"host", host.encode())]})


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("localhost:8000", True),
        ("LOCALHOST.:80", True),
        ("127.0.0.1:8000", True),
        ("127.8.8.8", True),
        ("[::1]:8000", True),
        ("[::1]", True),
        ("[::ffff:127.0.0.1]:1", True),
        (None, True),
        ("evil.com", False),
        ("evil.com:8000", False),
        ("localhost.evil.com", False),
        ("127.0.0.1.evil.com", False),
        ("localhost:8000@evil.com", False),
        ("localhost:evil", False),
        ("10.0.0.7", False),
        ("[::2]", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_loopback_answers_for_its_own_names(host: str | None, allowed: bool) -> None:
    """Any port may follow; programs that name no host are no browsers."""
    assert Hosts(LOOPBACK).allow(connection(host)) is allowed


def test_hosts_can_be_named() -> None:
    """Names, addresses and networks; a star allows all, and is the default of an embedded router."""
    hosts = Hosts(["Example.com", "192.0.2.0/24"])
    assert [hosts.allow(connection(host)) for host in ("example.com:8", "192.0.2.9")] == [True, True]
    assert not hosts.allow(connection("localhost"))
    assert Hosts(["*"]).allow(connection("evil.com"))
    assert Hosts().allow(connection("evil.com"))


@pytest.mark.anyio
async def test_no_route_answers_for_another_host() -> None:
    """Reading, publishing, deleting, streams and handshakes: 403, a counted code, and a text that says what to do."""
    broadcaster = Node()
    app = app_of(build_router(broadcaster, access=Access(allowed_hosts=LOOPBACK), demo_clients=1))
    requests = [
        ("GET", "/channels"),
        ("GET", "/channels/a/history"),
        ("GET", "/clients"),
        ("DELETE", "/clients/a"),
        ("GET", "/stats"),
        ("GET", "/metrics"),
        ("GET", "/sse/a"),
        ("POST", "/publish/a"),
        ("POST", "/publish"),
        ("GET", "/demo"),
        ("DELETE", "/demo"),
    ]
    async with running(app) as live:
        for method, path in requests:
            answer = await live.request(method, path, headers=EVIL)
            assert (answer.status, answer.code) == (403, "bad_host"), path
            assert "'evil.com'" in answer.json["error"]["message"]
            assert "FANWISE_ALLOWED_HOSTS" in answer.json["error"]["message"]
        for path in ("/ws", "/live", "/demo/tutorial"):
            assert (await live.request("GET", path, headers=EVIL | UPGRADE)).status == 403, path
        assert len(broadcaster) == len(broadcaster._hub) == 0
        assert broadcaster.tally.rejected[ErrorCode.BAD_HOST] == len(requests) + 2  # the tutorial has a code of its own
        assert (await live.request("GET", "/healthz", headers=EVIL)).status == 200
        assert (await live.request("POST", "/publish/a", b"x")).status == 200

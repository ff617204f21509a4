"""What the documented nginx leaves of the promises: WebSockets, events, addresses, stopped readers, prefixes, stops."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from fanwise.tools.doctor.backpressure import MESSAGE_BYTES, WELL_BYTES, Measured, judge, measure
from fanwise.tools.doctor.probe import Probe
from fanwise.tools.remote import Remote

from ..support.nginx import NAME, PREFIX, Nginx
from ..support.processes import ServerProcess

KEY = "long-enough-key"
HEADERS = {"Authorization": f"Bearer {KEY}"}
SERVE = ("-m", "fanwise", "serve", "--port", "{port}")
SETTINGS: Any = {
    "FANWISE_API_KEY": KEY,
    "FANWISE_TRUSTED_PROXIES": "127.0.0.1",
    "FANWISE_ALLOWED_HOSTS": f"{NAME},127.0.0.1",
    "FANWISE_DRAIN_SECONDS": "1",
}


class Site(NamedTuple):
    """The server and its proxy."""

    server: ServerProcess
    nginx: Nginx

    @contextmanager
    def client(self, path: str = "/ws", *, source: str = "127.0.0.1", **headers: str) -> Iterator[ClientConnection]:
        """A client of the JSON dialect on `lobby`."""
        sock = socket.create_connection(("127.0.0.1", self.nginx.port), source_address=(source, 0))
        with connect(
            f"wss://127.0.0.1:{self.nginx.port}{path}",
            sock=sock,
            ssl=self.nginx.context,
            subprotocols=[Subprotocol("fanwise.v1")],
            additional_headers=headers,
            compression=None,
            proxy=None,
        ) as client:
            assert hear(client)["op"] == "welcome"
            client.send('{"op":"subscribe","channel":"lobby"}')
            assert hear(client)["op"] == "subscribed"
            yield client

    @contextmanager
    def asking(self, method: str, path: str, body: bytes | None = None) -> Iterator[HTTPResponse]:
        """The answer to a request of its own connection."""
        with closing(HTTPSConnection("127.0.0.1", self.nginx.port, context=self.nginx.context)) as connection:
            connection.request(method, path, body, HEADERS)
            with connection.getresponse() as answer:
                yield answer

    def ask(self, method: str, path: str, body: bytes | None = None) -> str:
        """The body of the answer to a request."""
        with self.asking(method, path, body) as answer:
            assert answer.status == 200
            return answer.read().decode()


def hear(client: ClientConnection) -> dict[str, Any]:
    heard: dict[str, Any] = json.loads(client.recv())
    return heard


def event(stream: HTTPResponse) -> dict[str, str]:
    """The next event; comments are passed over."""
    while True:
        fields: dict[str, str] = {}
        while line := stream.readline().decode().strip():
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        if "data" in fields:
            return fields


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    server = ServerProcess(*SERVE, **SETTINGS)
    try:
        with Nginx(tmp_path_factory.mktemp("nginx"), server.port) as nginx:
            yield Site(server, nginx)
    finally:
        server.close()


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_messages_and_events_get_through(site: Site, prefix: str) -> None:
    """As they come, over TLS, with and without a prefix; so do the page and its files."""
    with site.client(f"{prefix}/ws") as client, site.asking("GET", f"{prefix}/sse/lobby") as stream:
        assert event(stream)["event"] == "subscribed"
        assert json.loads(site.ask("POST", f"{prefix}/publish/lobby", b"hello"))["channel"] == "lobby"
        assert hear(client)["data"] == event(stream)["data"] == "hello"
    found = re.findall(r'(?:src|href)="([^"]+)"', site.ask("GET", f"{prefix}/"))
    files = [name for name in found if not name.startswith("#")]
    assert "static/page/main.js" in files
    for file in files:
        assert site.ask("GET", urljoin(f"{prefix}/", file))


def test_a_client_has_its_own_address(site: Site) -> None:
    """That from which it has connected to the proxy, whatever it says of itself; so its page may connect."""
    origin = f"https://127.0.0.1:{site.nginx.port}"
    said = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http", "Forwarded": "for=192.0.2.7", "Origin": origin}
    with site.client(source="127.0.0.2", **said) as client:
        assert client.response is not None
        (listed,) = json.loads(site.ask("GET", "/clients?channel=lobby"))["clients"]
        assert listed["address"].rpartition(":")[0] == "127.0.0.2"


@pytest.mark.parametrize("bounded", [True, False], ids=["sndbuf", "as the kernel likes"])
def test_a_reader_that_stops_is_noticed(site: Site, tmp_path: Path, *, bounded: bool) -> None:
    """Soon, as the proxy's buffers are bounded; where they are not, the doctor sees the proxy and names the fix."""
    if bounded:
        finding, hidden = _tried(site.nginx)
        assert hidden <= WELL_BYTES
        assert not finding.fix
    else:
        with Nginx(tmp_path, site.server.port, (" sndbuf=64k", "")) as nginx:
            finding, hidden = _tried(nginx)
        assert hidden > WELL_BYTES
        assert "sndbuf=64k" in finding.fix


def _tried(nginx: Nginx) -> tuple[Any, int]:
    remote = Remote(f"https://127.0.0.1:{nginx.port}", api_key=KEY, context=nginx.context)
    found = measure(Probe(remote), message_bytes=MESSAGE_BYTES)
    assert isinstance(found, Measured)
    assert found.passed_on
    assert found.received == found.published
    return judge(found), found.hidden_bytes


def test_a_stop_is_told(tmp_path: Path) -> None:
    """To clients of both kinds, with the time after which to come back."""
    server = ServerProcess(*SERVE, **SETTINGS)
    try:
        with Nginx(tmp_path, server.port) as nginx:
            site = Site(server, nginx)
            with site.client() as client, site.asking("GET", "/sse/lobby") as stream:
                assert event(stream)["event"] == "subscribed"
                server.terminate()
                assert event(stream)["event"] == "close"
                with pytest.raises(ConnectionClosed) as closed:
                    client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            assert "retry_ms" in closed.value.rcvd.reason
            assert server.wait() == 0
    finally:
        server.close()

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from fanwise.transport.proxies import ProxyHeaders, TrustedProxies

TRUSTED = TrustedProxies(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"])


def test_proxies_are_addresses_or_networks() -> None:
    """Anything else is an error that shows it."""
    assert [host in TRUSTED for host in ("127.0.0.1", "10.1.2.3", "2001:db8::7", "::ffff:10.0.0.1")] == [True] * 4
    assert [host in TRUSTED for host in ("127.0.0.2", "11.0.0.1", "proxy", "", None)] == [False] * 5
    assert TRUSTED
    assert not TrustedProxies()
    with pytest.raises(ValueError, match="'proxy'"):
        TrustedProxies(["proxy"])


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([b"192.0.2.7"], "192.0.2.7"),
        ([b"192.0.2.7, 10.0.0.1"], "192.0.2.7"),
        ([b"192.0.2.7", b"10.0.0.1"], "192.0.2.7"),
        ([b"1.1.1.1, 192.0.2.7:4711, 10.0.0.1"], "192.0.2.7"),
        ([b"[2001:db9::1]:80"], "2001:db9::1"),
        ([b"1.1.1.1, unknown, 10.0.0.1"], None),
        ([b"1.1.1.1, \xff"], None),
        ([b"10.0.0.1, 10.0.0.2"], None),
        ([b""], None),
        ([], None),
    ],
)
def test_the_client_is_the_rightmost_that_is_no_proxy(values: list[bytes], client: str | None) -> None:
    """The hops to its left are what the client itself has sent."""
    assert TRUSTED.client(values) == client


@pytest.mark.parametrize("values", [[b"6.6.6.6," * 131_072 + b"10.0.0.1"], [b"9" * 1_048_576], [b"1.1.1.1"] * 99_999])
def test_a_long_header_is_read_from_its_end(values: list[bytes]) -> None:
    """1 MiB of it takes as long as 2 KiB, and none of it is kept."""
    assert (TRUSTED.client(values) or "") in ("6.6.6.6", "", "1.1.1.1")
    assert TRUSTED.client([b"6.6.6.6" + b",10.0.0.1" * 300]) is None, "not the one before 2,048 bytes of proxies"


async def passed(client: tuple[str, int] | None, scheme: str, **headers: str) -> tuple[Any, str]:
    """The client and the scheme that the application sees."""
    seen: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    kind = "websocket" if scheme.startswith("ws") else "http"
    given = {"type": kind, "client": client, "scheme": scheme, "headers": raw}
    await ProxyHeaders(app, TRUSTED)(given, nothing, nothing)
    connection = HTTPConnection(seen[0])
    return connection.client and tuple(connection.client), seen[0]["scheme"]


@pytest.mark.anyio
async def test_only_trusted_proxies_are_believed() -> None:
    """For the client, and for the scheme that it used; the connection of anybody else is what it is."""
    said = {"x_forwarded_for": "192.0.2.7", "x_forwarded_proto": "https"}
    proxy, stranger = ("10.0.0.1", 80), ("192.0.2.8", 80)
    assert await passed(proxy, "http", **said) == (("192.0.2.7", 0), "https")
    assert await passed(proxy, "ws", **said) == (("192.0.2.7", 0), "wss")
    assert await passed(proxy, "ws", x_forwarded_proto="http, https") == (proxy, "wss")
    assert await passed(proxy, "https", x_forwarded_proto="http") == (proxy, "http")
    assert await passed(proxy, "http", x_forwarded_proto="gopher") == (proxy, "http")
    assert await passed(proxy, "http") == (proxy, "http")
    assert await passed(stranger, "http", **said) == (stranger, "http")
    assert await passed(None, "http", **said) == (None, "http")

from __future__ import annotations

import socket
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from fanwise.routes.demo.target import find_target, is_local, why_not


def request(*headers: tuple[str, str], **scope: Any) -> HTTPConnection:
    """A request as a server hands it over: plain HTTP to 127.0.0.1:8000 from this machine, unless `scope` says more."""
    given: dict[str, Any] = {
        "type": "http",
        "scheme": "http",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50_000),
        "path": "/demo",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    return HTTPConnection(given | scope)


@pytest.mark.parametrize(
    ("scope", "prefix"),
    [
        ({}, ""),
        ({"path": "/api/demo"}, "/api"),  # include_router(prefix="/api")
        ({"path": "/a/b/demo", "root_path": "/a/b", "app_root_path": ""}, "/a/b"),  # mounted there
        (
            {"path": "/proxied/demo", "root_path": "/proxied"},
            "",
        ),  # uvicorn --root-path, behind a proxy that cuts it off
        ({"path": "/proxied/api/demo", "root_path": "/proxied"}, "/api"),
        ({"path": "/demo", "root_path": "/proxied"}, ""),  # FastAPI(root_path="/proxied"), likewise
        ({"path": "/a b/demo"}, "/a b"),
    ],
)
def test_what_stands_before_the_route_stands_before_the_others(scope: dict[str, Any], prefix: str) -> None:
    """As it was on the wire: the server puts its own root path in front."""
    target = find_target(request(**scope), route="/demo")
    assert target.prefix == prefix
    assert target.url("/ws", "channel=x").geturl() == f"ws://127.0.0.1:8000{prefix.replace(' ', '%20')}/ws?channel=x"


@pytest.mark.parametrize(
    ("server", "family", "address"),
    [
        (("127.0.0.1", 8000), socket.AF_INET, ("127.0.0.1", 8000)),
        (("192.0.2.7", 80), socket.AF_INET, ("192.0.2.7", 80)),
        (("0.0.0.0", 80), socket.AF_INET, ("127.0.0.1", 80)),
        (("::1", 80), socket.AF_INET6, ("::1", 80)),
        (("::", 80), socket.AF_INET6, ("::1", 80)),
        (("fe80::1%eth0", 80), socket.AF_INET6, ("::1", 80)),
        (("example.com", 80), socket.AF_INET, ("127.0.0.1", 80)),
    ],
)
def test_the_address_is_where_the_request_came_in(server: tuple[str, int], family: int, address: Any) -> None:
    """This machine's own where that cannot be connected to."""
    target = find_target(request(server=server), route="/demo")
    assert (target.family, target.address) == (family, address)


def test_the_host_is_the_one_that_was_asked() -> None:
    """A server that looks at it takes the simulated clients in, too; IPv6 addresses have their brackets."""
    assert find_target(request(("host", "example.com:1")), route="/demo").host == "example.com:1"
    assert find_target(request(server=("::1", 80)), route="/demo").host == "[::1]:80"


@pytest.mark.parametrize(
    ("headers", "client", "local"),
    [
        ([], ("127.0.0.1", 1), True),
        ([], ("127.8.8.8", 1), True),
        ([], ("::1", 1), True),
        ([], ("::ffff:127.0.0.1", 1), True),
        ([], ("192.0.2.7", 1), False),
        ([], ("::ffff:192.0.2.7", 1), False),
        ([], ("testclient", 1), False),
        ([], None, False),
        ([("x-forwarded-for", "127.0.0.1")], ("127.0.0.1", 1), False),
        ([("forwarded", "for=127.0.0.1")], ("127.0.0.1", 1), False),
        ([("x-real-ip", "127.0.0.1")], ("127.0.0.1", 1), False),
        ([("via", "1.1 proxy")], ("127.0.0.1", 1), False),
    ],
)
def test_local_is_who_is_on_this_machine(headers: list[tuple[str, str]], client: Any, local: bool) -> None:
    """Not a proxy on it, which speaks for others."""
    assert is_local(request(*headers, client=client)) is local


def test_some_servers_cannot_be_connected_to() -> None:
    """By TLS and without a port; a proxy that ends TLS is no hindrance."""
    assert why_not(request()) is None
    assert "TLS" in str(why_not(request(scheme="https")))
    assert why_not(request(("x-forwarded-proto", "https"), scheme="https")) is None
    assert "port" in str(why_not(request(server=("/run/fanwise.sock", None))))
    assert "port" in str(why_not(request(server=None)))

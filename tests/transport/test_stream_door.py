"""The door for event streams and the application give the same answers."""

from __future__ import annotations

import asyncio

import pytest
from starlette.middleware.gzip import GZipMiddleware

from fanwise import Broadcaster
from fanwise.app import create_app, door_of
from fanwise.settings import load_settings
from fanwise.transport.stream_door import Stream, StreamDoor

from ..support.live import Live, running, until

pytestmark = pytest.mark.anyio
HOST = "Host: 127.0.0.1"
LINE = "GET /sse/lobby HTTP/1.1"
# {name: (request line, fields, whether the door takes it)}
REQUESTS = {
    "plain": (LINE, HOST, True),
    "no fields but a host": (LINE, f"{HOST}\r\nAccept: text/event-stream\r\nCache-Control: no-cache", True),
    "JSON": ("GET /sse/lobby?format=json HTTP/1.1", HOST, True),
    "plain by name": ("GET /sse/lobby?format=plain&other=1 HTTP/1.1", HOST, True),
    "a position": ("GET /sse/lobby?since=other:4 HTTP/1.1", HOST, True),
    "no position": ("GET /sse/lobby?since= HTTP/1.1", HOST, True),
    "two positions": ("GET /sse/lobby?since=a:1&since=other:4 HTTP/1.1", HOST, True),
    "two formats": ("GET /sse/lobby?format=xml&format=json HTTP/1.1", HOST, True),
    "a browser that comes back": (LINE, f"{HOST}\r\nLast-Event-ID: other:4", True),
    "a browser that comes back twice": (LINE, f"{HOST}\r\nLast-Event-ID: other:4\r\nLast-Event-ID: x", True),
    "no last event": (LINE, f"{HOST}\r\nLast-Event-ID:", True),
    "both": ("GET /sse/lobby?since=x HTTP/1.1", f"{HOST}\r\nLast-Event-ID: other:4", True),
    "a path of its own": ("GET /sse/a/b/c:d HTTP/1.1", HOST, True),
    "two slashes": ("GET /sse//lobby HTTP/1.1", HOST, True),
    "escapes": ("GET /%73se/l%6Fbby HTTP/1.1", HOST, True),
    "its own page": (LINE, f"{HOST}\r\nOrigin: http://127.0.0.1", True),
    "close": (LINE, f"{HOST}\r\nConnection: close", True),
    "keep-alive": (LINE, f"{HOST}\r\nConnection: keep-alive", True),
    "a page of another host": (LINE, f"{HOST}\r\nOrigin: http://evil.com", False),
    "another host": (LINE, "Host: evil.com", False),
    "no host": (LINE, "Accept: */*", True),
    "two hosts": (LINE, f"{HOST}\r\n{HOST}", False),
    "a bad channel": ("GET /sse/no%20good HTTP/1.1", HOST, False),
    "a line break": ("GET /sse/lobby%0a HTTP/1.1", HOST, False),
    "no channel": ("GET /sse/ HTTP/1.1", HOST, False),
    "another path": ("GET /sse HTTP/1.1", HOST, False),
    "a whole URL": ("GET http://127.0.0.1/sse/lobby HTTP/1.1", HOST, False),
    "a fragment": ("GET /sse/lobby#here HTTP/1.1", HOST, False),
    "a bad position": ("GET /sse/lobby?since=7 HTTP/1.1", HOST, False),
    "a bad last event": (LINE, f"{HOST}\r\nLast-Event-ID: 7", False),
    "a bad format": ("GET /sse/lobby?format=xml HTTP/1.1", HOST, False),
    "no format": ("GET /sse/lobby?format= HTTP/1.1", HOST, False),
    "HEAD": ("HEAD /sse/lobby HTTP/1.1", HOST, False),
    "POST": ("POST /sse/lobby HTTP/1.1", f"{HOST}\r\nContent-Length: 0", False),
    "an empty body": (LINE, f"{HOST}\r\nContent-Length: 0", False),
    "a body": (LINE, f"{HOST}\r\nContent-Length: 2\r\n\r\nhi", False),
    "chunks": (LINE, f"{HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0", False),
    "an expectation": (LINE, f"{HOST}\r\nExpect: something", False),
    "another protocol": (LINE, f"{HOST}\r\nConnection: Upgrade\r\nUpgrade: h2c", False),
    "HTTP/1.0": ("GET /sse/lobby HTTP/1.0", HOST, False),
    "a request behind it": (LINE, f"{HOST}\r\n\r\nGET /healthz HTTP/1.1\r\n{HOST}", False),
}
# Of the settings below: pages that may connect, and may not.
PAGES = ["", "\r\nOrigin: https://a.example", "\r\nOrigin: http://127.0.0.1", "\r\nOrigin: https://evil.example"]
# What proxies say, and pages whose scheme has to be that of the request.
FORWARDED = [
    *(
        f"{proto}{page}"
        for proto in ("", "\r\nX-Forwarded-Proto: https", "\r\nX-Forwarded-Proto: https, http")
        for page in ("", "\r\nOrigin: https://127.0.0.1", "\r\nOrigin: http://127.0.0.1")
    ),
    "\r\nX-Forwarded-For: nobody",
]


async def answer(live: Live, line: str, fields: str) -> tuple[list[bytes], bytes]:
    """The lines of the answer, in an order of their own and without the date, and the first of the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    writer.write(f"{line}\r\n{fields}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.strip().split(b"\r\n")
    body = b""
    if b"chunked" in head:
        body = (await reader.readline()).partition(b'"epoch"')[0]
    writer.close()
    return [status, *sorted(line for line in lines if not line.startswith(b"date"))], body


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the door has taken each request that was shown to it."""
    seen: list[bool] = []
    enter = StreamDoor.enter

    def note(self: StreamDoor, scope: object, method: bytes, url: bytes) -> Stream | None:
        found = enter(self, scope, method, url)  # type: ignore[arg-type]
        seen.append(found is not None)
        return found

    monkeypatch.setattr(StreamDoor, "enter", note)
    return seen


async def test_the_answer_is_the_same_either_way(taken: list[bool]) -> None:
    """For requests of all kinds; those that are plain and allowed need no application."""
    one = create_app(load_settings())
    async with running(one, door=one.state.door) as door, running(one) as long_way:
        for name, (line, fields, plain) in REQUESTS.items():
            taken.clear()
            answers = [await answer(door, line, fields), await answer(long_way, line, fields)]
            assert answers[0] == answers[1], name
            assert (True in taken) is plain, name


@pytest.mark.parametrize("origins", [["https://a.example"], ["*"]])
async def test_pages_of_other_hosts_get_the_same_fields(taken: list[bool], origins: list[str]) -> None:
    """Those of CORSMiddleware."""
    one = create_app(load_settings(allowed_origins=origins))
    async with running(one, door=door_of(one)) as door, running(one) as long_way:
        for page in PAGES:
            taken.clear()
            answers = [await answer(live, LINE, HOST + page) for live in (door, long_way)]
            assert answers[0] == answers[1], page
            assert taken == [b" 200 " in answers[0][0][0]], page
            assert any(line.startswith((b"access-control", b"vary")) for line in answers[0][0]), page


@pytest.mark.parametrize("trusted", ["127.0.0.1", "192.0.2.1"])
async def test_what_trusted_proxies_say_counts_either_way(taken: list[bool], trusted: str) -> None:
    """The address of the client, and the scheme that its page's has to be the same as; of others it is nothing."""
    one = create_app(load_settings(trusted_proxies=[trusted]))
    async with running(one, door=door_of(one)) as door, running(one) as long_way:
        for fields in FORWARDED:
            taken.clear()
            answers = [await answer(live, LINE, f"{HOST}{fields}") for live in (door, long_way)]
            assert answers[0] == answers[1], fields
            assert taken == [b" 200 " in answers[0][0][0]], fields
        for live in (door, long_way):
            address = await forwarded_address(one.state.broadcaster, live)
            assert address.startswith("198.51.100.7:0" if trusted == "127.0.0.1" else "127.0.0.1:")


async def forwarded_address(broadcaster: Broadcaster, live: Live) -> str:
    """The address of the one client, which a proxy names."""
    await until(lambda: len(broadcaster) == 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    writer.write(f"{LINE}\r\n{HOST}\r\nX-Forwarded-For: 6.6.6.6, 198.51.100.7\r\n\r\n".encode())
    await reader.readuntil(b"subscribed")
    (client,) = broadcaster.statistics().clients
    writer.close()
    return client.address


async def test_middleware_that_has_to_see_requests_closes_the_door() -> None:
    """Such as one that packs answers."""
    one = create_app(load_settings())
    one.add_middleware(GZipMiddleware)
    assert door_of(one) is None


async def test_a_client_of_the_door_is_a_client() -> None:
    """It is served, counted and closed like the others, needs no task, and uvicorn's books are right."""
    one = create_app(load_settings())
    async with running(one, door=one.state.door) as live:
        broadcaster, state = one.state.broadcaster, live.server.server_state
        assert (await live.request("GET", "/healthz")).status == 200
        tasks = len(asyncio.all_tasks())
        async with live.events("/sse/lobby") as a, live.events("/sse/lobby") as b:
            for events in (a, b):
                await events.next()
            assert len(asyncio.all_tasks()) == tasks
            assert (len(state.tasks), len(state.connections), state.total_requests) == (0, 2, 3)
            await broadcaster.publish("lobby", "hello")
            heard = [await events.next() for events in (a, b)]
            assert [event and event.data for event in heard] == ["hello"] * 2
            clients = broadcaster.statistics().clients
            assert [(client.dialect, client.path) for client in clients] == [("sse", "direct")] * 2
            assert all(client.address.startswith("127.0.0.1:") for client in clients)
        await until(lambda: len(broadcaster) == 0 and not state.connections)
        assert broadcaster.statistics().closed == {"lost": 2}


async def test_a_stream_follows_other_requests_of_its_connection(taken: list[bool]) -> None:
    """Also in pieces: only a request that is here as a whole is shown to the door."""
    one = create_app(load_settings())
    async with running(one, door=one.state.door) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        for _ in range(2):
            writer.write(f"GET /healthz HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
            await reader.readuntil(b'"ok"}')
        taken.clear()
        for byte in f"{LINE}\r\n{HOST}\r\n\r\n".encode():
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await reader.readuntil(b"subscribed")
        assert taken == [True]
        await one.state.broadcaster.publish("lobby", "x" * 100)
        await reader.readuntil(b"x" * 100)
        writer.close()
        await until(lambda: not live.server.server_state.connections)


async def test_a_server_without_room_refuses(taken: list[bool]) -> None:
    """Full and draining with 503; without room for a channel the stream is empty, as over the application."""
    one = create_app(load_settings(max_clients=2, max_channels=1))
    async with running(one, door=one.state.door) as live, live.events("/sse/a") as events:
        await events.next()
        async with live.events("/sse/other") as empty:
            assert "200 OK" in empty.head
            assert await empty.next() is None
        await until(lambda: len(live.server.server_state.connections) == 1)
        async with live.events("/sse/a"):
            assert (await live.request("GET", "/sse/a")).code == "full"
            one.state.broadcaster.draining = True
            assert (await live.request("GET", "/sse/a")).code == "draining"
    assert taken == [True, True, True, False, False]

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from fanwise.broadcaster.client import State
from fanwise.broadcaster.node import Node
from fanwise.transport.event_stream_connection import EventStreamConnection
from fanwise.transport.http_protocol import FanwiseHttpProtocol

from ..routes.test_json_session import serving
from ..routes.test_router import make_app
from ..support.live import handshake, running, until

pytestmark = pytest.mark.anyio


async def test_a_stream_is_served_over_its_descriptor() -> None:
    """Sweeps write to it as they do to WebSockets: its client is ready, and its task sleeps."""
    broadcaster = Node()
    async with serving(broadcaster) as live, live.events("/sse/a") as events:
        await events.next()
        (client,) = broadcaster._registry
        await until(lambda: client.state is State.READY)
        assert isinstance(client.sink, EventStreamConnection)
        assert client.outbox.path == "direct"
        recoveries = client.recoveries
        for number in range(100):
            broadcaster.publish_nowait("a", str(number))
        got = [await events.next() for _ in range(100)]
        assert [event and event.data for event in got] == [str(number) for number in range(100)]
        assert client.recoveries - recoveries < 10  # it was a sweep that wrote, not its task a hundred times


async def test_many_streams_and_websockets_share_a_channel() -> None:
    """Each gets everything in its own words, while some come and go."""
    broadcaster = Node()
    async with serving(broadcaster) as live, await live.connect("/ws?channel=a") as plain:
        for turn in range(20):
            async with live.events("/sse/a") as one, live.events("/sse/a?format=json") as two:
                await one.next()
                await two.next()
                await broadcaster.publish("a", str(turn))
                event = await one.next()
                assert event is not None
                assert event.data == str(turn) == await plain.recv()
                event = await two.next()
                assert event is not None
                assert f'"data":"{turn}"' in event.data


async def test_a_slow_reader_of_a_stream_catches_up() -> None:
    """What its socket does not take waits in the log, and its frames arrive whole."""
    broadcaster = Node(queue_bytes=1 << 28, queue_messages=10_000)
    async with serving(broadcaster) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port, limit=4096)
        writer.write(b"GET /sse/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await until(lambda: len(broadcaster) == 1)
        (client,) = broadcaster._registry
        await until(lambda: client.state is State.READY)
        number = 0
        while client.state is State.READY or number < 100:
            await broadcaster.publish("a", f"{number:06}".ljust(30_000, "x"))
            number += 1
            await asyncio.sleep(0)
        assert client.sink.buffered_bytes < 65_536
        body = bytearray()
        while body.count(b"\ndata: ") < number + 1:
            body += await reader.read(65_536)
        lines = [line for line in bytes(body).split(b"\n") if line.startswith(b"data: 0")]
        assert [int(line[6:12]) for line in lines] == list(range(number))
        await until(lambda: client.state is State.READY)
        writer.close()


async def test_other_requests_are_not_touched() -> None:
    """Keep-alive and pipelining work as they did, before and beside streams."""
    broadcaster = Node()
    async with running(make_app(broadcaster)) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        for _ in range(2):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3)
            for _ in range(3):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                assert await reader.readexactly(len(b'{"status":"ok"}')) == b'{"status":"ok"}'
        writer.write(b"GET /sse/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"subscribed")
        assert len(broadcaster) == 1
        writer.close()
        await until(lambda: len(broadcaster) == 0)


async def test_a_stream_leaves_before_its_descriptor_is_reused() -> None:
    """Connections churn during a broadcast, and no stream ever gets a byte that is not its own."""
    broadcaster = Node()
    async with serving(broadcaster) as live:
        stop = asyncio.Event()

        async def publish() -> None:
            while not stop.is_set():
                for name in "ab":
                    await broadcaster.publish(name, name * 500)
                await asyncio.sleep(0)

        async def churn(name: str) -> None:
            other = b"b" if name == "a" else b"a"
            for _ in range(60):
                reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
                writer.write(f"GET /sse/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                await reader.readuntil(b"data: " + name.encode() * 500)
                assert b"data: " + other * 500 not in await reader.read(10_000)
                writer.transport.abort()

        publisher = asyncio.create_task(publish())
        await asyncio.gather(*(churn(name) for name in "abab"))
        stop.set()
        await publisher
        await until(lambda: len(broadcaster) == 0)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /sse/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"no request\r\n\r\n",
        handshake("/ws"),
    ],
    ids=["stream", "request", "nonsense", "upgrade"],
)
async def test_a_connection_is_freed_without_the_collector(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """It is rare on a server, and walks every object of every connection."""
    made: list[weakref.ref[FanwiseHttpProtocol]] = []
    connection_made = FanwiseHttpProtocol.connection_made

    def note(self: FanwiseHttpProtocol, transport: asyncio.BaseTransport) -> None:
        made.append(weakref.ref(self))
        connection_made(self, transport)

    monkeypatch.setattr(FanwiseHttpProtocol, "connection_made", note)
    async with serving(Node()) as live:
        gc.disable()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
            writer.write(sent)
            await reader.readuntil(b"\r\n\r\n")
            if sent != handshake("/ws"):  # what is a WebSocket now needs it no more
                writer.close()
            await until(lambda: [ref() for ref in made] == [None])
            writer.close()
        finally:
            gc.enable()

"""Honest shapes of traffic that no limit may meet: each is a coroutine that raises if it was served badly."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from .attackers import TEXT, frame, handshake, request

Shape = Callable[[int], Awaitable[None]]
OPEN: Final = b"\r\n\r\n"
SHAPES: dict[str, Shape] = {}


def shape(work: Shape) -> Shape:
    """Adds a coroutine to the table, under its name."""
    SHAPES[work.__name__] = work
    return work


def client(port: int, path: str, **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{port}{path}", compression=None, proxy=None, **options)


@asynccontextmanager
async def talk(port: int, path: str = "/ws") -> AsyncIterator[ClientConnection]:
    """A connection of the JSON dialect, after its welcome."""
    async with client(port, path, subprotocols=[Subprotocol("fanwise.v1")]) as websocket:
        await websocket.recv()
        yield websocket


async def ask(websocket: ClientConnection, **op: Any) -> dict[str, Any]:
    await websocket.send(json.dumps(op))
    answer: dict[str, Any] = json.loads(await websocket.recv())
    return answer


@asynccontextmanager
async def stream(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The next answer of a connection that stays open: its status and body (its chunks, if it comes in chunks)."""
    head = await reader.readuntil(OPEN)
    lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if not lengths:
        return int(head[9:12]), await reader.readuntil(b"\r\n0\r\n\r\n")
    return int(head[9:12]), await reader.readexactly(int(lengths[0]))


async def exchange(port: int, *requests: bytes) -> list[bytes]:
    """Sends one request after the other on one connection, each of which has to be answered with 200."""
    bodies = []
    async with stream(port) as (reader, writer):
        for one in requests:
            writer.write(one)
            status, body = await answer_of(reader)
            assert status == 200, (status, body)
            bodies.append(body)
    return bodies


async def receive(websocket: ClientConnection, count: int) -> None:
    """Returns when so many messages have come."""
    for _ in range(count):
        await websocket.recv()


@shape
async def a_publisher_of_1000_messages_a_second(port: int) -> None:
    async with client(port, "/ws?channel=thousand") as websocket:
        receiving = asyncio.create_task(receive(websocket, 2_000))
        for _ in range(200):
            for _ in range(10):
                await websocket.send("x" * 128)
            await asyncio.sleep(0.01)
        await receiving


@shape
async def batches_of_64_messages(port: int) -> None:
    async with stream(port) as (reader, writer):
        writer.write(handshake("Sec-WebSocket-Protocol: fanwise.v1"))
        await reader.readuntil(OPEN)
        op = frame(TEXT, b'{"op":"publish","channel":"batches","data":{"eur":1.08}}')
        for _ in range(32):
            writer.write(op * 64)
            await asyncio.sleep(0.064)
        for _ in range(32 * 64):
            await reader.readuntil(b'"published"')


@shape
async def a_bulk_publisher_over_http(port: int) -> None:
    entries = [{"channel": f"bulk/{number % 10}", "data": number} for number in range(500)]
    body = json.dumps(entries).encode()
    batch = request("POST", "/publish", "Content-Type: application/json", body=body)
    for answer in await exchange(port, *[batch] * 5):
        assert b'"error"' not in answer


@shape
async def a_script_that_publishes_one_by_one_over_http(port: int) -> None:
    await exchange(port, *[request("POST", "/publish/script", body=b"hello")] * 300)


@shape
async def a_client_that_resumes_1000_messages(port: int) -> None:
    entries = [{"channel": "resumed", "data": number} for number in range(1_000)]
    body = json.dumps(entries).encode()
    publish = request("POST", "/publish", "Content-Type: application/json", body=body)
    epoch = json.loads((await exchange(port, publish))[0])["results"][0]["epoch"]
    async with talk(port) as websocket:
        subscribed = await ask(websocket, op="subscribe", channel="resumed", since={"epoch": epoch, "offset": 0})
        assert subscribed["recovered"]
        await receive(websocket, 1_000)


@shape
async def a_browser_that_loads_the_page_over_6_connections(port: int) -> None:
    paths = ["/", "/static/fanwise.js", "/static/page/main.js", "/static/page/page.css", "/static/page/icon.svg"] * 2
    lines = ("User-Agent: Mozilla/5.0", "Accept: */*", "Accept-Encoding: gzip, br", "Accept-Language: en")
    await asyncio.gather(*(exchange(port, *[request("GET", path, *lines) for path in paths]) for _ in range(6)))


@shape
async def a_client_that_pings_50_times_a_second(port: int) -> None:
    async with client(port, "/ws?channel=pings") as websocket:
        for _ in range(100):
            await (await websocket.ping())
            await asyncio.sleep(0.02)


@shape
async def a_message_in_16_fragments(port: int) -> None:
    async with client(port, "/ws?channel=fragments") as websocket:
        for _ in range(20):
            await websocket.send(["x" * 4_000] * 16)
            assert len(await websocket.recv()) > 64_000
            await asyncio.sleep(0.05)


@shape
async def pictures_of_60_kb_20_times_a_second(port: int) -> None:
    async with client(port, "/ws?channel=pictures") as websocket:
        for _ in range(40):
            await websocket.send(bytes(60_000))
            assert len(await websocket.recv()) == 60_000
            await asyncio.sleep(0.05)


@shape
async def a_dashboard_that_subscribes_to_100_channels_at_once(port: int) -> None:
    async with talk(port) as websocket:
        for number in range(100):
            await websocket.send(json.dumps({"op": "subscribe", "channel": f"tile/{number}"}))
        for _ in range(100):
            assert json.loads(await websocket.recv())["op"] == "subscribed"


@shape
async def an_office_of_100_clients_behind_one_address(port: int) -> None:
    async def come_back() -> None:
        async with client(port, "/ws?channel=office") as websocket:
            await asyncio.sleep(0.5)
            await (await websocket.ping())

    for _ in range(2):  # as after a restart of their switch
        await asyncio.gather(*(come_back() for _ in range(100)))


@shape
async def an_event_stream_that_resumes(port: int) -> None:
    answers = await exchange(port, *[request("POST", "/publish/events", body=b"hello")] * 50)
    epoch = json.loads(answers[0])["epoch"]
    async with stream(port) as (reader, writer):
        writer.write(request("GET", "/sse/events", f"Last-Event-ID: {epoch}:0"))
        for _ in range(50):
            await reader.readuntil(b"data: hello")


@shape
async def six_event_streams_of_one_browser(port: int) -> None:
    async def listen() -> None:
        async with stream(port) as (reader, writer):
            writer.write(request("GET", "/sse/six", "Accept: text/event-stream", "Cache-Control: no-cache"))
            await reader.readuntil(b"event: subscribed")
            await asyncio.sleep(1)

    await asyncio.gather(*(listen() for _ in range(6)))


@shape
async def probes_and_metrics_on_kept_connections(port: int) -> None:
    paths = ("/healthz", "/stats", "/metrics")  # /readyz says no, rightly, on a machine that is busy
    for _ in range(10):
        await exchange(port, *(request("GET", path) for path in paths))
        await asyncio.sleep(0.1)


@shape
async def a_handshake_over_a_bad_line(port: int) -> None:
    whole = handshake()
    async with stream(port) as (reader, writer):
        for start in range(0, len(whole), 20):
            writer.write(whole[start : start + 20])
            await asyncio.sleep(0.1)
        assert b" 101 " in await reader.readuntil(OPEN)


@shape
async def a_phone_that_reads_nothing_for_a_second(port: int) -> None:
    async with client(port, "/ws?channel=phone", max_queue=1) as phone, client(port, "/ws?channel=phone") as other:
        receiving = asyncio.create_task(receive(other, 100))
        for _ in range(100):
            await other.send("x" * 5_000)
        await receiving
        await asyncio.sleep(1)
        await receive(phone, 100)


@shape
async def cookies_of_7_kb(port: int) -> None:
    lines = ("User-Agent: Mozilla/5.0", "Cookie: session=" + "x" * 7_000)
    await exchange(port, request("GET", "/channels", *lines))
    async with client(port, "/ws", additional_headers={"Cookie": "session=" + "x" * 7_000}) as websocket:
        await (await websocket.ping())


@shape
async def a_paste_of_200_messages(port: int) -> None:
    async with client(port, "/ws?channel=paste") as websocket:
        for _ in range(200):
            await websocket.send("a line that was pasted")
        await receive(websocket, 200)


@shape
async def an_upload_that_waits_for_100_continue(port: int) -> None:
    head, _, body = request("POST", "/publish/upload", "Expect: 100-continue", body=b"x" * 60_000).partition(OPEN)
    async with stream(port) as (reader, writer):
        writer.write(head + OPEN)
        assert b" 100 " in await reader.readuntil(OPEN)
        await asyncio.sleep(0.2)
        writer.write(body)
        assert (await answer_of(reader))[0] == 200


@shape
async def a_load_balancer_of_http_1_0(port: int) -> None:
    for _ in range(20):
        async with stream(port) as (reader, writer):
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert b" 200 " in await reader.read()
        await asyncio.sleep(0.05)


@shape
async def a_browser_that_offers_compression(port: int) -> None:
    lines = ("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", f"Origin: http://127.0.0.1:{port}")
    async with stream(port) as (reader, writer):
        writer.write(handshake(*lines, host=f"127.0.0.1:{port}"))
        assert b" 101 " in await reader.readuntil(OPEN)


@shape
async def a_publisher_that_repeats_what_was_not_acknowledged(port: int) -> None:
    one = [request("POST", "/publish/again", f"Idempotency-Key: {number}", body=b"x") for number in range(50)]
    answers = await exchange(port, *one, *one)
    assert answers[:50] == answers[50:]


@shape
async def a_client_that_changes_its_channels_20_times_a_second(port: int) -> None:
    async with talk(port) as websocket:
        for number in range(40):
            assert (await ask(websocket, op="subscribe", channel=f"tab/{number}"))["op"] == "subscribed"
            assert (await ask(websocket, op="unsubscribe", channel=f"tab/{number}"))["op"] == "unsubscribed"
            await asyncio.sleep(0.05)


@shape
async def an_operator_who_watches(port: int) -> None:
    async with talk(port, "/live") as websocket:
        assert (await ask(websocket, op="subscribe", channel="stats"))["op"] == "subscribed"
        await receive(websocket, 2)
    await exchange(port, request("GET", "/clients"), request("GET", "/channels?limit=1000"))


@shape
async def telemetry_in_base64(port: int) -> None:
    data = base64.b64encode(bytes(3_000)).decode()
    async with talk(port) as websocket:
        for number in range(100):
            op = {"op": "publish", "channel": "telemetry", "data": data, "encoding": "base64", "id": number}
            assert (await ask(websocket, **op))["op"] == "published"

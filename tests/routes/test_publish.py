from __future__ import annotations

import asyncio
import json
import re
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fanwise.broadcaster.node import Node
from fanwise.core.codes import ErrorCode
from fanwise.routes import publish as module
from fanwise.routes.auth.guards import Access
from fanwise.routes.batch import MAX_ENTRIES
from fanwise.transport.limits import Limits

from ..broadcaster.test_node import joined
from .test_json_session import serving

pytestmark = pytest.mark.anyio

TEXT = {"Content-Type": "text/plain"}
JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}


@pytest.mark.parametrize(
    ("headers", "body", "told"),
    [
        (TEXT, "zwölf\n".encode(), {"data": "zwölf\n"}),
        ({}, b"hello", {"data": "hello"}),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=b", {"data": "a=b"}),
        (JSON, b'{"a": [1, 2]}', {"data": {"a": [1, 2]}}),
        ({"Content-Type": "application/geo+json; charset=utf-8"}, b"[]", {"data": []}),
        (JSON, b'"a string"', {"data": "a string"}),
        (BINARY, b"\x00\xff", {"data": "AP8=", "encoding": "base64"}),
        (BINARY, b"", {"data": "", "encoding": "base64"}),
    ],
)
async def test_the_body_is_the_payload(headers: dict[str, str], body: bytes, told: dict[str, Any]) -> None:
    """What it is, its content type says; the answer's position is what subscribers see."""
    async with serving(Node()) as live, await live.talk() as talk:
        await talk.ask(op="subscribe", channel="a/b")
        answer = await live.request("POST", "/publish/a/b?key=k", body, headers=headers)
        heard = await talk.hear()
        assert heard == {"op": "message", "channel": "a/b", "offset": 1, "key": "k", **told}
        assert answer.json == {"channel": "a/b", "epoch": answer.json["epoch"], "offset": 1}
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "code"),
    [
        ("/publish/no%20good", TEXT, b"x", 400, "bad_channel"),
        ("/publish/", TEXT, b"x", 400, "bad_channel"),
        ("/publish/" + "x" * 256, TEXT, b"x", 400, "bad_channel"),
        ("/publish/a", JSON, b"{", 400, "bad_json"),
        ("/publish/a", JSON, b"", 400, "bad_json"),
        ("/publish/a", JSON, b"[" * 500 + b"]" * 500, 400, "bad_json"),
        ("/publish/a", TEXT, b"\xff", 400, "bad_text"),
        ("/publish/a?key=" + "x" * 256, TEXT, b"x", 400, "bad_request"),
        ("/publish/a", {"Idempotency-Key": "x" * 256}, b"x", 400, "bad_request"),
        ("/publish/a", TEXT, b"x" * 65_537, 413, "too_big"),
        ("/publish", JSON, b"{", 400, "bad_json"),
        ("/publish", JSON, b"{}", 400, "bad_request"),
        ("/publish", JSON, json.dumps([1] * (MAX_ENTRIES + 1)).encode(), 400, "bad_request"),
    ],
)
async def test_a_bad_request_names_what_is_wrong(
    path: str, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    """And publishes nothing."""
    broadcaster = Node()
    async with serving(broadcaster) as live:
        answer = await live.request("POST", path, body, headers=headers)
        assert (answer.status, answer.code) == (status, code)
        assert len(answer.json["error"]["message"]) > 20
        assert broadcaster.statistics().publications == 0


@pytest.mark.parametrize("announced", [True, False])
async def test_what_is_too_big_is_not_read(announced: bool) -> None:
    """A length that is announced is enough; one that is not is found out on the way. Then the connection ends."""
    async with serving(Node()) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        length = "Content-Length: 1000000000" if announced else "Transfer-Encoding: chunked"
        writer.write(f"POST /publish/a HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n\r\n".encode())
        if not announced:
            writer.write(b"10001\r\n" + b"x" * 65_537 + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in head
        assert json.loads(await reader.read())["error"]["code"] == "too_big"
        writer.close()


async def test_each_entry_of_a_batch_has_its_own_fate() -> None:
    """In their order; one that fails keeps none of the others."""
    entries: list[Any] = [
        {"channel": "a", "data": "one"},
        {"channel": "no good", "data": "two"},
        {"channel": "b", "data": {"three": 3}, "key": "k"},
        {"channel": "a"},
        {"channel": "a", "data": "AP8=", "encoding": "base64"},
        {"channel": "a", "data": "?", "encoding": "base64"},
        {"channel": "a", "data": "x" * 65_537},
        {"channel": "a", "data": 1, "colour": "red"},
        "five",
        {"channel": "a", "data": None},
    ]
    async with serving(Node()) as live:
        answer = await live.request("POST", "/publish", json.dumps(entries).encode(), headers=JSON)
        assert answer.status == 200
        fates = [
            (one["channel"], one["offset"]) if "channel" in one else one["error"]["code"]
            for one in answer.json["results"]
        ]
        assert fates == [
            ("a", 1),
            "bad_channel",
            ("b", 1),
            "bad_entry",
            ("a", 2),
            "wrong_type",
            "too_big",
            "bad_entry",
            "bad_entry",
            ("a", 3),
        ]


async def test_a_request_that_is_sent_again_publishes_nothing() -> None:
    """With the same Idempotency-Key, and the same answer; another request with it is refused."""
    broadcaster = Node()
    async with serving(broadcaster) as live:
        headers = {**TEXT, "Idempotency-Key": "5f1c"}
        first, again = [await live.request("POST", "/publish/a", b"x", headers=headers) for _ in range(2)]
        assert first.json == again.json
        batch = json.dumps([{"channel": "a", "data": "y"}]).encode()
        many = {**JSON, "Idempotency-Key": "77"}
        assert (await live.request("POST", "/publish", batch, headers=many)).json == (
            await live.request("POST", "/publish", batch, headers=many)
        ).json
        assert broadcaster.statistics().publications == 2
        for path, body in (("/publish/b", b"x"), ("/publish/a", b"y"), ("/publish/a?key=k", b"x")):
            answer = await live.request("POST", path, body, headers=headers)
            assert (answer.status, answer.code) == (422, "idempotency_key_reused")
        assert broadcaster.statistics().publications == 2


async def test_publishing_asks_for_the_key_if_there_is_one() -> None:
    """In either header; and a page of another host is refused whatever it brings."""
    broadcaster = Node()
    async with serving(broadcaster, access=Access(api_key="correct-horse")) as live:
        right = {"Authorization": "Bearer correct-horse"}
        for path, body, kind in (("/publish/a", b"x", TEXT), ("/publish", b"[]", JSON)):
            for headers, status in (
                ({}, 401),
                ({"X-API-Key": "wrong"}, 401),
                ({"X-API-Key": "correct-horse"}, 200),
                (right, 200),
                ({**right, "Origin": "http://evil.com"}, 403),
                ({**right, "Origin": f"http://127.0.0.1:{live.port}"}, 200),
            ):
                answer = await live.request("POST", path, body, headers={**kind, **headers})
                assert answer.status == status
                assert ("www-authenticate" in answer.headers) == (status == 401)
        assert broadcaster.statistics().publications == 3


async def test_a_full_server_says_when_to_come_back() -> None:
    """All channels are in use: 503, and Retry-After."""
    async with serving(Node(max_channels=1)) as live, await live.talk() as talk:
        await talk.ask(op="subscribe", channel="a")
        answer = await live.request("POST", "/publish/b", b"x")
        assert (answer.status, answer.code) == (503, "too_many_channels")
        assert int(answer.headers["retry-after"]) > 0


async def test_a_publisher_beyond_its_rate_waits_so_long_and_is_then_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it did not wait for is a debt: the next request of the connection gets 429, and publishes nothing."""
    monkeypatch.setattr(module, "HELD_SECONDS", 0.1)
    broadcaster = Node()
    async with serving(broadcaster, limits=Limits(publishes_per_second=1)) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        batch = json.dumps([{"channel": "a", "data": 1}] * 50).encode()
        for body in (batch, b"[]"):
            head = f"POST /publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
            writer.write(head.encode() + b"\r\n" + body)
        first, second = await read_answer(reader), await read_answer(reader)
        writer.close()
        assert first[0].startswith(b"HTTP/1.1 200 ")
        assert len(json.loads(first[1])["results"]) == broadcaster.statistics().publications == 50
        assert second[0].startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: 5\r" in second[0].lower()
        error = json.loads(second[1])["error"]
        assert error["code"] == "publishes_too_fast"
        assert re.search(r"come back in 4\d seconds", error["message"])
        assert broadcaster.tally.rejected[ErrorCode.PUBLISHES_TOO_FAST] == 1


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of an answer with a length."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head, await reader.readexactly(int(size.partition(b":")[2]))


async def test_a_batch_waits_so_long_for_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first entries are published; each that is left says that it was not, and when to come."""
    monkeypatch.setattr(module, "HELD_SECONDS", 0.5)
    node = Node(stall_seconds=600.0)
    async with serving(node) as live, AsyncExitStack() as stack:
        for _ in range(3):
            _, sink = await stack.enter_async_context(joined(node))
            sink.pause()
        batch = json.dumps([{"channel": "lobby", "data": "x" * 60_000}] * 17).encode()
        answer = await live.request("POST", "/publish", batch)
        results = answer.json["results"]
        published = [result["offset"] for result in results if "offset" in result]
        held = [result["error"] for result in results if "error" in result]
        assert answer.status == 200
        assert published == list(range(1, len(published) + 1)) != []
        assert node.statistics().publications == len(published)
        assert len(held) == 17 - len(published) > 0
        assert {error["code"] for error in held} == {"readers_behind"}
        assert "send it again later" in held[0]["message"]
        assert node.tally.rejected[ErrorCode.READERS_BEHIND] == len(held)

from __future__ import annotations

import asyncio
import logging

import pytest

from fanwise.broadcaster.node import Node
from fanwise.core.codes import CodedError, ErrorCode
from fanwise.core.publication import Kind
from fanwise.routes.bodies import body_data

from ..support.live import running, until
from .test_json_session import serving
from .test_router import make_app

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("body", "content_type", "kind"),
    [
        (b"{}", "application/json", Kind.JSON),
        (b'"a"', "Application/JSON; charset=utf-8", Kind.TEXT),
        (b"a", "", Kind.TEXT),
        (b"a", "text/plain", Kind.TEXT),
        (b"\xff", "image/png", Kind.BINARY),
    ],
)
def test_the_content_type_says_what_a_body_is(body: bytes, content_type: str, kind: Kind) -> None:
    """JSON, text or binary."""
    assert body_data(body, content_type)[0] is kind


def test_a_body_is_what_its_type_says() -> None:
    """Else a code says what is wrong."""
    for body, content_type, code in ((b"{", "application/json", "bad_json"), (b"\xff", "text/plain", "bad_text")):
        with pytest.raises(CodedError) as caught:
            body_data(body, content_type)
        assert caught.value.code == code


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
@pytest.mark.parametrize("request_line", ["POST /publish/a", "POST /publish", "PUT /demo"])
async def test_a_request_that_is_cut_is_one_refusal(
    request_line: str, fast: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted, told in one line, and without a traceback; nothing is published."""
    broadcaster = Node()
    with caplog.at_level(logging.INFO):
        async with running(make_app(broadcaster), fast=fast) as live:
            _, writer = await asyncio.open_connection("127.0.0.1", live.port)
            head = f"{request_line} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n"
            writer.write(head.encode() + b"half")
            await writer.drain()
            await until(lambda: bool(live.server.server_state.tasks))
            writer.close()
            await until(lambda: broadcaster.tally.rejected[ErrorCode.INCOMPLETE_BODY] == 1)
            await until(lambda: not live.server.server_state.tasks)
    told = [record for record in caplog.records if record.name == "fanwise" and record.levelno >= logging.INFO]
    assert [vars(record)["reason"] for record in told if "reason" in vars(record)] == ["incomplete_body"]
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []
    assert broadcaster.tally.publications == 0


async def test_the_demo_reads_a_small_body() -> None:
    """4 KiB; a larger one is not read."""
    async with running(make_app(Node())) as live:
        answer = await live.request("PUT", "/demo", b" " * 4097, headers={"Content-Type": "application/json"})
        assert (answer.status, answer.code) == (413, "too_big")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/publish/abc%0a"), ("GET", "/sse/abc%0a"), ("DELETE", "/clients/abc%0a"), ("GET", "/channels%0a")],
)
async def test_a_line_break_is_no_end_of_a_path(method: str, path: str) -> None:
    """Starlette takes the path for the one before it."""
    broadcaster = Node()
    async with serving(broadcaster) as live:
        answer = await live.request(method, path, b"x" if method == "POST" else b"")
        assert (answer.status, answer.code) == (400, "bad_request")
        assert list(broadcaster.inspect.channels()) == []

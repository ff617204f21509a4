"""How one line and one answer of a refusal look; `test_front_door.py` shows when they come."""

from __future__ import annotations

import asyncio
import json
import logging
import socket

import pytest

from fanwise.core.codes import ErrorCode
from fanwise.transport.refusals import RefusedError, refuse

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("answer", [True, False])
async def test_a_refusal_is_answered_counted_and_logged(caplog: pytest.LogCaptureFixture, answer: bool) -> None:
    """However long its text and its address are; the connection is closed behind the answer."""
    caplog.set_level(logging.INFO)
    counted: list[ErrorCode] = []
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    refusal = RefusedError(ErrorCode.DRAINING, "x" * 1000, headers=b"a: b\r\n")
    refuse(
        transport,
        refusal,
        count=counted.append,
        client=("127.0.0.1", 5),
        url=b"/" + b"p" * 1000 + b"?key=secret",
        answer=answer,
    )
    got = b""
    while part := await loop.sock_recv(theirs, 10_000):
        got += part
    theirs.close()
    head, _, body = got.partition(b"\r\n\r\n")
    if answer:
        assert head.split(b"\r\n")[0] == b"HTTP/1.1 503 Service Unavailable"
        assert {b"retry-after: 5", b"connection: close", b"a: b", b"content-length: 246"} < set(head.split(b"\r\n"))
        assert json.loads(body) == {"error": {"code": "draining", "message": "x" * 200}}
    else:
        assert got == b""
    assert counted == [ErrorCode.DRAINING]
    (line,) = caplog.records
    assert line.__dict__["path"] == "/" + "p" * 199
    assert line.__dict__["address"] == "127.0.0.1:5"

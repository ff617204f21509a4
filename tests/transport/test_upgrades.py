from __future__ import annotations

import asyncio

import pytest

from fanwise.core.codes import ErrorCode
from fanwise.transport.http_protocol import FanwiseHttpProtocol
from fanwise.transport.places import PlaceLimits, Places
from fanwise.transport.upgrades import UPGRADE_LINE_BYTES, upgrade_problem

from ..support.live import echo, handshake, running

PLAIN = [(b"host", b"a"), (b"sec-websocket-version", b"13")]


@pytest.mark.parametrize("headers", [PLAIN, [], [*PLAIN, (b"content-length", b"0")]])
def test_a_handshake_without_a_problem(headers: list[tuple[bytes, bytes]]) -> None:
    """The WebSocket library looks for a version that is missing."""
    assert upgrade_problem("1.1", b"/ws", headers) is None


@pytest.mark.parametrize(
    ("version", "url", "more", "code", "problem"),
    [
        ("1.0", b"/ws", [], ErrorCode.BAD_REQUEST, "takes HTTP/1.1"),
        ("1.1", b"/ws", [(b"content-length", b"5")], ErrorCode.BAD_REQUEST, "has no body"),
        ("1.1", b"/ws", [(b"transfer-encoding", b"chunked")], ErrorCode.BAD_REQUEST, "has no body"),
        ("1.1", b"/ws", [(b"sec-websocket-version", b"8")], ErrorCode.WRONG_VERSION, "is 13"),
        ("1.1", b"/" * (UPGRADE_LINE_BYTES + 1), [], ErrorCode.HEAD_TOO_LARGE, "8000 bytes"),
        ("1.1", b"/ws", [(b"a", b"x" * UPGRADE_LINE_BYTES)], ErrorCode.HEAD_TOO_LARGE, "8000 bytes"),
    ],
)
def test_a_handshake_with_a_problem(
    version: str, url: bytes, more: list[tuple[bytes, bytes]], code: ErrorCode, problem: str
) -> None:
    """Each is refused with a code of its own, and says what is allowed."""
    refusal = upgrade_problem(version, url, [*PLAIN, *more])
    assert refusal is not None
    assert refusal.code is code
    assert problem in str(refusal)


@pytest.mark.anyio
async def test_the_reserve_of_descriptors_is_not_for_websockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even on paths that are answered when descriptors are short: nothing could end such a connection."""
    refused: list[ErrorCode] = []
    places = Places(PlaceLimits(short_paths=["/ws"]), count=refused.append)
    monkeypatch.setattr(FanwiseHttpProtocol, "place", places.enter("127.0.0.1", short=True))
    async with running(echo()[0]) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(handshake("/ws"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
        writer.close()

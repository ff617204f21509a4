from __future__ import annotations

import base64
import hashlib
from urllib.parse import urlsplit

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

from fanwise.tools.load.wire import BINARY, TEXT, Handshake, ProtocolViolation, client_frame, close_code, next_frame

from ...support.bench import server_frame

ACCEPT_LINE = b"sec-websocket-accept: "


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_client_frames_are_what_a_server_reads(size: int) -> None:
    """A strict implementation unmasks them to what was meant."""
    payload = bytes(index % 251 for index in range(size))
    server = Protocol(SERVER, state=State.OPEN, max_size=None)
    server.receive_data(client_frame(BINARY, payload))
    frames = [event for event in server.events_received() if isinstance(event, Frame)]
    assert [(frame.opcode, bytes(frame.data)) for frame in frames] == [(Opcode.BINARY, payload)]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_server_frames_are_read(size: int) -> None:
    """Whatever the width of the length; and not before the last byte is there."""
    payload = b"x" * size
    data = Frame(Opcode.TEXT, payload).serialize(mask=False)
    found = next_frame(b"??" + data, 2, 1 << 20)
    assert found is not None
    assert (found.final, found.opcode, found.stop) == (True, TEXT, len(data) + 2)
    assert data[found.payload - 2 :] == payload
    for short in (length for length in {0, 1, 2, 3, 5, len(data) - 1} if length < len(data)):
        assert next_frame(data[:short], 0, 1 << 20) is None


@pytest.mark.parametrize("data", [b"\xc1\x00", b"\x81\x80\x00\x00\x00\x00", server_frame(b"x" * 200)])
def test_what_no_server_may_send_is_refused(data: bytes) -> None:
    """Reserved bits, a mask, and more than is allowed."""
    with pytest.raises(ProtocolViolation):
        next_frame(data, 0, 100)


def test_close_codes() -> None:
    """1005 stands for none."""
    assert (close_code(b""), close_code(b"\x0f\xa8slow")) == (1005, 4008)


def test_the_handshake() -> None:
    """It asks for what the URL says, and checks the answer."""
    handshake = Handshake(
        urlsplit("ws://user@example.org:81/ws?channel=a"), subprotocol="fanwise.v1", headers=("X-One: 1",)
    )
    lines = handshake.request.decode().split("\r\n")
    assert lines[0] == "GET /ws?channel=a HTTP/1.1"
    assert {"Host: example.org:81", "Sec-WebSocket-Protocol: fanwise.v1", "X-One: 1"} <= set(lines)
    key = next(line for line in lines if line.startswith("Sec-WebSocket-Key")).partition(": ")[2]
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    good = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n" + ACCEPT_LINE + base64.b64encode(digest)
    assert handshake.refusal(good) is None
    assert "Sec-WebSocket-Accept" in (handshake.refusal(good[:-3]) or "")
    assert "503" in (handshake.refusal(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5") or "")

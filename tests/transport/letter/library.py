"""The frame reader against the `websockets` library: the same stream, the same messages, pongs and close code.

The differences, and why:

- A close frame in the middle of a message gets its own code back; the library fails with 1002. RFC 6455 section 5.4
  lets control frames come between fragments.
- Bad UTF-8 fails with 1007 at the fragment that is bad; the library leaves the text to its user.
- A fragment that makes a message too big fails when it has come whole; the library fails at its head, and counts
  control frames between fragments as if they were part of the message.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from typing import NamedTuple

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from fanwise.transport.frames import BINARY, OTHER, TEXT, FrameCutter

MAX_BYTES = 2_000
MESSAGES = {TEXT: Opcode.TEXT, BINARY: Opcode.BINARY}


class Understood(NamedTuple):
    """What a stream says."""

    messages: list[tuple[Opcode, bytes]]
    pongs: list[bytes]
    code: int | None  # of the close frame in answer


class Reference:
    """The library alone, with the two differences: what they add is written here a second time, simply."""

    def __init__(self) -> None:
        self.protocol = ServerProtocol(state=State.OPEN, max_size=MAX_BYTES)
        self.messages: list[tuple[Opcode, bytes]] = []
        self.bad_text = False
        self._opcode = Opcode.TEXT
        self._parts: list[bytes] = []

    def take(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame) and not self.bad_text:
                self._take_frame(event)

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._opcode, self._parts = frame.opcode, []
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts.append(bytes(frame.data))
        message = b"".join(self._parts)
        if self._opcode is Opcode.TEXT and not may_be_text(message, final=frame.fin):
            self.bad_text = True
        elif frame.fin:
            self.messages.append((self._opcode, message))

    def understood(self) -> Understood:
        sent = Frames()
        sent.take(b"".join(self.protocol.data_to_send()))
        return Understood(self.messages, sent.pongs, CloseCode.INVALID_DATA if self.bad_text else sent.code)


class Frames:
    """What a server has sent."""

    def __init__(self) -> None:
        self.pongs: list[bytes] = []
        self.code: int | None = None

    def take(self, data: bytes) -> None:
        while data:
            assert data[1] <= 125
            payload, opcode = data[2 : 2 + data[1]], data[0] & 0x0F
            data = data[2 + data[1] :]
            if opcode == Opcode.PONG:
                self.pongs.append(payload)
            elif opcode == Opcode.CLOSE:
                self.code = int.from_bytes(payload[:2]) if payload else CloseCode.NO_STATUS_RCVD


def may_be_text(data: bytes, *, final: bool) -> bool:
    """Whether UTF-8 may go on, or end, like this. Surrogates are found by their second byte."""
    try:
        getincrementaldecoder("utf-8")().decode(data, final=final)
    except UnicodeDecodeError:
        return False
    return not (data[-2:-1] == b"\xed" and data[-1:] >= b"\xa0")


def read(pieces: list[bytes]) -> Understood:
    """What our frame reader makes of a stream: it hands out whole messages, and the rest to the library."""
    cutter, rest = FrameCutter(max_bytes=MAX_BYTES), Reference()
    for piece in pieces:
        data = piece
        while True:
            for kind, payload in cutter.feed(data, raw=False):
                if rest.bad_text or rest.protocol.state is not State.OPEN:
                    break
                take(rest, kind, payload)
            data = b""
            if not cutter.more:
                break
    return rest.understood()


def take(rest: Reference, kind: int, payload: bytes) -> None:
    if kind == OTHER:
        if payload[:1] == b"\x88":
            rest.protocol.current_size = None
        rest.take(payload)
    elif kind == TEXT and not may_be_text(payload, final=True):
        rest.bad_text = True
    else:
        rest.messages.append((MESSAGES[kind], payload))


def expected(stream: bytes) -> Understood:
    """What the library makes of the stream, taken byte by byte so that nothing behind its end counts."""
    reference = Reference()
    for at in range(len(stream)):
        reference.take(stream[at : at + 1])
        if reference.bad_text or reference.protocol.state is not State.OPEN:
            break
    return reference.understood()


def compare(pieces: list[bytes]) -> Understood:
    """Raises AssertionError if the stream is understood differently; returns what it says."""
    stream = b"".join(pieces)
    ours, theirs = read(pieces), expected(stream)
    if ours.code != theirs.code == CloseCode.PROTOCOL_ERROR:
        assert problem_of(stream) == "incomplete fragmented message", (ours, theirs)
        ours = ours._replace(code=theirs.code)
    if ours.code != theirs.code == CloseCode.MESSAGE_TOO_BIG:  # the library has stopped before
        assert all(len(data) <= MAX_BYTES for _, data in ours.messages), (ours, theirs)
        ours = Understood(ours.messages[: len(theirs.messages)], ours.pongs[: len(theirs.pongs)], theirs.code)
    assert ours == theirs, (ours, theirs)
    return ours


def problem_of(stream: bytes) -> str:
    """What the library says of the end of a stream."""
    reference = Reference()
    reference.take(stream)
    return str(reference.protocol.parser_exc)

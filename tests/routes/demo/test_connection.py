from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from fanwise.routes.demo.connection import ABORTED, Connection
from fanwise.tools.load.wire import Handshake

from ...support.demo import local, sockets, sockets_before
from ...support.live import until

pytestmark = pytest.mark.anyio


class Peer:
    """The server's end of a connection, after its answer to the handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._protocol = ServerProtocol()
        self._heard: list[Frame] = []

    async def answer(self) -> None:
        self._protocol.receive_data(await self.reader.readuntil(b"\r\n\r\n"))
        (request,) = self._protocol.events_received()
        assert isinstance(request, Request)
        self._protocol.send_response(self._protocol.accept(request))
        self.writer.write(b"".join(self._protocol.data_to_send()))

    async def hear(self) -> Frame:
        """The next frame, which has to be masked."""
        while not self._heard:
            data = await self.reader.read(65_536)
            assert data, "the end"
            self._protocol.receive_data(data)
            assert self._protocol.parser_exc is None
            for event in self._protocol.events_received():
                assert isinstance(event, Frame)
                self._heard.append(event)
        return self._heard.pop(0)

    def say(self, *frames: Frame) -> None:
        self.writer.write(serialise(*frames))


class Heard:
    """What a connection called."""

    def __init__(self) -> None:
        self.opened = 0
        self.messages: list[bytes] = []
        self.times: list[float] = []
        self.codes: list[int] = []

    def connection(self, port: int) -> Connection:
        def message(data: bytes, frame: object, now: float) -> None:
            self.messages.append(data[frame.payload : frame.stop])  # type: ignore[attr-defined]
            self.times.append(now)

        def opened() -> None:
            self.opened += 1

        handshake = Handshake(urlsplit(f"ws://127.0.0.1:{port}/ws"), subprotocol=None)
        return Connection(handshake, on_open=opened, on_message=message, on_lost=self.codes.append, receive_bytes=4096)


def serialise(*frames: Frame) -> bytes:
    return b"".join(frame.serialize(mask=False) for frame in frames)


def text(payload: bytes) -> Frame:
    return Frame(Opcode.TEXT, payload)


@asynccontextmanager
async def listening(answer: Callable[[Peer], Awaitable[None]]) -> AsyncIterator[int]:
    """A port where `answer` meets each connection; what it raises is raised at the end."""
    tasks: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []

    async def meet(peer: Peer) -> None:
        await answer(peer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.append(asyncio.create_task(meet(Peer(reader, writer))))

    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    server = await asyncio.start_server(accept, sock=listener)
    try:
        yield port
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        for writer in writers:
            writer.transport.abort()
        server.close()
        await server.wait_closed()


async def test_frames_are_read_wherever_they_are_cut() -> None:
    """Byte by byte, behind the answer to the handshake; long ones and short ones, texts and binaries."""
    messages = [b"1", b"2" * 125, b"3" * 126, b"4" * 70_000]
    stream = serialise(*map(text, messages), Frame(Opcode.BINARY, b"5"))

    async def answer(peer: Peer) -> None:
        await peer.answer()
        for start in range(400):
            peer.writer.write(stream[start : start + 1])
            await peer.writer.drain()
            await asyncio.sleep(0)
        peer.writer.write(stream[400:])
        await peer.reader.read()

    heard = Heard()
    async with listening(answer) as port:
        connection = heard.connection(port)
        await connection.open(local(port))
        await until(lambda: len(heard.messages) == 5)
        assert heard.messages == [*messages, b"5"]
        assert (heard.opened, heard.codes) == (1, [])
        connection.abort()


async def test_pings_are_answered() -> None:
    """With a masked pong that says the same."""

    async def answer(peer: Peer) -> None:
        await peer.answer()
        peer.say(Frame(Opcode.PING, b"still there?"))
        assert await peer.hear() == Frame(Opcode.PONG, b"still there?")
        done.set()

    done = asyncio.Event()
    async with listening(answer) as port:
        connection = Heard().connection(port)
        await connection.open(local(port))
        await done.wait()
        connection.abort()


async def test_a_close_frame_says_why_and_is_answered() -> None:
    """The code is told, once, when the connection has ended."""

    async def answer(peer: Peer) -> None:
        await peer.answer()
        peer.say(text(b"last"), Frame(Opcode.CLOSE, (4008).to_bytes(2, "big") + b"slow"), text(b"never"))
        assert await peer.hear() == Frame(Opcode.CLOSE, (4008).to_bytes(2, "big"))

    heard = Heard()
    async with listening(answer) as port:
        await heard.connection(port).open(local(port))
        await until(lambda: bool(heard.codes))
    assert (heard.codes, heard.messages) == ([4008], [b"last"])


@pytest.mark.parametrize("rest", [b"", b"\xff\xff broken"], ids=["the end", "no frame"])
async def test_an_end_without_a_close_frame_has_a_code_too(rest: bytes) -> None:
    """A server that goes, or sends what is no frame."""

    async def answer(peer: Peer) -> None:
        await peer.answer()
        peer.writer.write(rest)
        if not rest:
            peer.writer.close()

    heard = Heard()
    async with listening(answer) as port:
        await heard.connection(port).open(local(port))
        await until(lambda: bool(heard.codes))
    assert heard.codes == [ABORTED]


@pytest.mark.parametrize(
    "refusal", [b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"HTTP/1.1 101 Yes\r\n\r\n", b"x" * 20_000, b""]
)
async def test_a_refused_handshake_is_no_connection(refusal: bytes) -> None:
    """It returns, and nothing was opened or lost."""

    async def answer(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(refusal)
        if not refusal:
            peer.writer.close()

    heard = Heard()
    async with listening(answer) as port:
        await heard.connection(port).open(local(port))
    assert (heard.opened, heard.codes) == (0, [])


async def test_nobody_there_is_an_error() -> None:
    """And leaves no descriptor."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    before = sockets_before()
    with pytest.raises(ConnectionRefusedError):
        await Heard().connection(port).open(local(port))
    assert sockets() <= before


async def test_a_client_that_stops_finds_out_that_it_was_dropped() -> None:
    """Its socket fills up; a server that aborts it leaves the end behind what was not read, and still it is noticed."""

    async def answer(peer: Peer) -> None:
        await peer.answer()
        peer.say(text(b"read"))
        await stopped.wait()
        peer.writer.transport.set_write_buffer_limits(high=0)
        while peer.writer.transport.get_write_buffer_size() < 100_000:
            peer.say(text(b"x" * 4096))
            await asyncio.sleep(0)
        peer.writer.transport.abort()

    heard, stopped = Heard(), asyncio.Event()
    async with listening(answer) as port:
        connection = heard.connection(port)
        await connection.open(local(port))
        await until(lambda: bool(heard.messages))
        connection.stop_reading()
        connection.stop_reading()
        stopped.set()
        await until(lambda: bool(heard.codes))
    assert (heard.messages, heard.codes) == ([b"read"], [ABORTED])


async def test_it_says_a_text_from_an_address() -> None:
    """The text is masked; the address is that which the server sees, and none after the end."""

    async def answer(peer: Peer) -> None:
        await peer.answer()
        said.append(await peer.hear())
        host, number = peer.writer.get_extra_info("peername")
        seen.append(f"{host}:{number}")

    said: list[Frame] = []
    seen: list[str] = []
    async with listening(answer) as port:
        connection = Heard().connection(port)
        assert connection.address == ""
        await connection.open(local(port))
        connection.say(b"hello")
        await until(lambda: bool(seen))
        assert (said, seen) == ([Frame(Opcode.TEXT, b"hello")], [connection.address])
        connection.abort()
        connection.say(b"too late")
        assert connection.address == ""


async def test_an_aborted_connection_tells_nobody() -> None:
    """Nor does it leave a timer or a descriptor."""
    gone = asyncio.Event()

    async def answer(peer: Peer) -> None:
        await peer.answer()
        peer.say(text(b"1"))
        try:
            while await peer.reader.read(65_536):
                continue
        except ConnectionResetError:
            pass
        gone.set()

    heard = Heard()
    async with listening(answer) as port:
        before = sockets_before()
        connection = heard.connection(port)
        await connection.open(local(port))
        connection.abort()
        connection.abort()
        await gone.wait()
        assert heard.codes == []
        await until(lambda: sockets() <= before + 1)  # the server's end


@pytest.mark.parametrize("says", [True, False], ids=["reads", "has stopped"])
async def test_who_reads_says_goodbye(says: bool) -> None:
    """With a masked close frame, 1000, before the end; nobody is told of a loss."""
    frames: list[Frame] = []
    opened = asyncio.Event()

    async def answer(peer: Peer) -> None:
        await peer.answer()
        await opened.wait()
        with suppress(AssertionError):  # the end, or the pongs of those who hardly read
            while not frames or frames[-1].opcode is Opcode.PONG:
                frames.append(await peer.hear())

    heard = Heard()
    async with listening(answer) as port:
        connection = heard.connection(port)
        await connection.open(local(port))
        if not says:
            connection.stop_reading()
        connection.leave()
        connection.leave()
        opened.set()
    said = [frame for frame in frames if frame.opcode is Opcode.CLOSE]
    assert said == ([Frame(Opcode.CLOSE, (1000).to_bytes(2, "big"))] if says else [])
    assert heard.codes == []


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4, 5])
async def test_opening_can_be_given_up(turns: int) -> None:
    """At any point: the descriptor goes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel connects, and nobody answers
        before = sockets_before()
        connection = Heard().connection(listener.getsockname()[1])
        opening = asyncio.create_task(connection.open(local(listener.getsockname()[1])))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait({opening})
        connection.abort()
        assert opening.cancelled()
        assert sockets() == before


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_it_can_be_aborted_while_it_opens(turns: int) -> None:
    """Then opening returns, and nothing is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        before = sockets_before()
        heard = Heard()
        connection = heard.connection(listener.getsockname()[1])
        opening = asyncio.create_task(connection.open(local(listener.getsockname()[1])))
        for _ in range(turns):
            await asyncio.sleep(0)
        connection.abort()
        await opening
        assert (sockets(), heard.opened, heard.codes) == (before, 0, [])

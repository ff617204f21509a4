"""A server on its own event loop, which inputs are sent to one by one, and what must hold after each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar

import uvloop

from fanwise.app import create_app
from fanwise.settings import Settings

from ..support.live import Live, running, until
from ..transport.letter.wire import say

T = TypeVar("T")

SECONDS = 10.0  # in which an input is answered, and its connection closed
KEY = "the-key-of-the-server"
MAX_MESSAGE_BYTES = 2_000
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


class World(logging.Handler):
    """A whole server, asked for a key, in a loop that runs while an input is sent.

    Args:
        fast: Whether the loop is uvloop.
    """

    def __init__(self, *, fast: bool = True) -> None:
        super().__init__(logging.WARNING)
        self.wrong: list[str] = []  # what the server has logged that no input may cause
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop if fast else asyncio.new_event_loop)
        self._stack = AsyncExitStack()
        self.live: Live

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        self._runner.get_loop().set_exception_handler(lambda _loop, context: self.wrong.append(str(context)))
        settings = Settings.model_validate({"api_key": KEY, "max_message_bytes": MAX_MESSAGE_BYTES})
        self.live = self._runner.run(self._stack.enter_async_context(running(create_app(settings))))
        self.live.server.config.ws_max_size = MAX_MESSAGE_BYTES
        return self

    def __exit__(self, *exc: object) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Notes errors, and everything with a traceback."""
        if record.levelno >= logging.ERROR or record.exc_info:
            text = self.format(record)
            if "ClientDisconnect()" not in text:
                self.wrong.append(text)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs what sends an input, and then sees whether the server is as it was."""

        async def bounded() -> T:
            async with asyncio.timeout(SECONDS):
                result = await coroutine
                await until(lambda: not self.live.server.server_state.connections)
                await until(lambda: not self.live.server.server_state.tasks)
                assert (await self.answer(HEALTH)).startswith(b"HTTP/1.1 200 "), "the next client is not served"
                await until(lambda: not self.live.server.server_state.connections)
                return result

        result = self._runner.run(bounded())
        wrong, self.wrong = self.wrong, []
        assert wrong == [], wrong[0]
        return result

    async def answer(self, *pieces: bytes) -> bytes:
        """All that comes back, to the end of the connection, when nothing follows the pieces."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.live.port)
        try:
            await say_all(writer, pieces)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def say_all(writer: asyncio.StreamWriter, pieces: Iterable[bytes]) -> None:
    """Sends the pieces, and that nothing follows, unless the server has closed the connection."""
    await say(writer, pieces)
    with contextlib.suppress(OSError):  # closed meanwhile
        if not writer.transport.is_closing():
            writer.write_eof()

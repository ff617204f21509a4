"""A broadcast server that does one thing wrong, on purpose: what the load generator has to see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from .background import background

# What becomes of a message for one client: (client's number, message's number, text) -> what it gets instead.
Fault = Callable[[int, int, str], list[str]]
VICTIM = 1  # the client that a fault hits; number 0 connects before it
EVERY = 7


def lose(client: int, message: int, text: str) -> list[str]:
    return [] if client == VICTIM and message % EVERY == 0 else [text]


def duplicate(client: int, message: int, text: str) -> list[str]:
    return [text, text] if client == VICTIM and message % EVERY == 0 else [text]


def corrupt(client: int, message: int, text: str) -> list[str]:
    return [text[:-1] + "!"] if client == VICTIM and message % EVERY == 0 else [text]


def rewrite_time(client: int, message: int, text: str) -> list[str]:
    """One digit of the time, which no other message is compared with."""
    at = text.rindex("@") - 1
    changed = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
    return [changed] if client == VICTIM and message % EVERY == 0 else [text]


class Reorder:
    """Every seventh message of the victim comes behind the one after it."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def __call__(self, client: int, message: int, text: str) -> list[str]:
        if client != VICTIM:
            return [text]
        if message % EVERY == 0:
            self._held.append(text)
            return []
        return [text, *(self._held.pop() for _ in list(self._held))]


def fine(_client: int, _message: int, text: str) -> list[str]:
    return [text]


class _Server:
    def __init__(self, fault: Fault, *, close_at: int | None) -> None:
        self._fault = fault
        self._close_at = close_at
        self._clients: list[ServerConnection] = []
        self._messages = 0

    async def handle(self, connection: ServerConnection) -> None:
        self._clients.append(connection)
        async for text in connection:
            self._messages += 1
            for number, client in enumerate(self._clients):
                with suppress(ConnectionClosed):
                    for answer in self._fault(number, self._messages, f"Message: {text!s}"):
                        await client.send(answer)
                    if number == VICTIM and self._messages == self._close_at:
                        await client.close(4008, "too slow for <us>")


@asynccontextmanager
async def _serving(fault: Fault, close_at: int | None) -> AsyncIterator[str]:
    handle = _Server(fault, close_at=close_at).handle
    async with serve(handle, "127.0.0.1", 0, compression=None, close_timeout=0.1) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"


@contextmanager
def bad_server(fault: Fault = fine, *, close_at: int | None = None) -> Iterator[str]:
    """The URL of a server with a fault; one that closes its victim at message `close_at` besides."""
    with background(_serving(fault, close_at)) as (url, _):
        yield url

"""Workers of one process behind an engine in memory, as they see each other."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from ..errors import BackplaneDownError
from .port import CARD_SECONDS, Asked, Heard
from .questions import Questions


class _Kept(NamedTuple):
    card: bytes
    until: float  # on the monotonic clock


class MemoryRoom:
    """Where the workers of one engine meet.

    Attributes:
        members: {name: worker} of those that are connected.
        cards: {name: card}, also of workers that have gone without taking it back.
        deaf: Names of workers that nothing reaches; tests add to it.
        closed: Whether the engine is away; tests set it.
    """

    def __init__(self) -> None:
        self.members: dict[str, MemoryFleet] = {}
        self.cards: dict[str, _Kept] = {}
        self.deaf: set[str] = set()
        self.closed = False

    def keep(self, worker: str, card: bytes) -> None:
        """Keeps a card for CARD_SECONDS."""
        self.cards[worker] = _Kept(card, time.monotonic() + CARD_SECONDS)

    def listed(self) -> dict[str, bytes]:
        """Returns the cards, without those that are too old."""
        now = time.monotonic()
        self.cards = {worker: kept for worker, kept in self.cards.items() if kept.until > now}
        return {worker: kept.card for worker, kept in self.cards.items()}

    def send(self, to: str, message: bytes) -> None:
        """Sends a message in the next turn of the loop: to a worker, or to all."""
        for worker in [to] if to else list(self.members):
            if worker in self.members and worker not in self.deaf and not self.closed:
                asyncio.get_running_loop().call_soon(self.members[worker].received, message)


class MemoryFleet:
    """One worker's connection to the others (`port.Fleet`)."""

    def __init__(self, room: MemoryRoom) -> None:
        self.worker = ""
        self._room = room
        self._questions: Questions | None = None

    async def start(self, asked: Asked) -> None:
        """Enters the room."""
        self.worker = secrets.token_hex(4)
        self._questions = Questions(self.worker, send=self._room.send, asked=asked)
        self._room.members[self.worker] = self

    async def stop(self) -> None:
        """Leaves the room."""
        self._room.members.pop(self.worker, None)
        self._room.cards.pop(self.worker, None)
        self._questions = None

    def announce(self, card: bytes) -> None:
        """Keeps the card."""
        if not self._room.closed and self._questions is not None:
            self._room.keep(self.worker, card)

    async def workers(self) -> dict[str, bytes]:
        """Returns the cards."""
        if self._room.closed:
            raise BackplaneDownError("it is stalled")
        return self._room.listed()

    def ask(self, question: bytes, heard: Heard, *, to: str = "") -> Callable[[], None]:
        """Asks the others."""
        if self._questions is None:
            raise BackplaneDownError("the server stops")
        return self._questions.ask(question, heard, to=to)

    def received(self, message: bytes) -> None:
        """Hears a message."""
        if self._questions is not None:
            self._questions.received(message)

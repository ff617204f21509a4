"""The workers behind one NATS, as one of them sees the others.

The link is one of its own: long answers delay no publication, and a worker that wants no more of them still answers.
Questions and answers are messages that no stream keeps. Cards are in a stream in memory, whose messages age.
"""

from __future__ import annotations

import asyncio
import random
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from ...errors import BackplaneDownError, SettingsError
from ..options import Options
from ..port import CARD_BYTES, CARD_SECONDS, WORKERS, Asked, Heard
from ..questions import MESSAGE_BYTES, Questions
from .address import Address
from .dial import ApiError, api, dial
from .life import servers_of
from .link import Delivery, Link, LinkError
from .messages import token_of
from .reader import collect
from .tail import place_of

_PAUSE_SECONDS: Final = 0.5  # between two attempts to connect
_SILENT_SECONDS: Final = 2.0  # for which a card may wait for its reply
_WAITING_BYTES: Final = 8_388_608  # of messages that are not sent, and of those that are here in part
_NANOSECONDS: Final = 1_000_000_000
_CARD_SPACE: Final = CARD_BYTES + 256
_PIECE_HEAD: Final = 32
_PIECE: Final = re.compile(rb"([0-9]{1,6}) ([0-9]{1,6}) ([0-9a-f]{8})\n")  # its number, how many there are, sender
_NAME: Final = re.compile(rb"[0-9a-f]{8}")


class Pieces:
    """Messages that are larger than the server allows travel in pieces, in order. Owns the bound of what is kept."""

    def __init__(self) -> None:
        self._parts: dict[bytes, list[bytes]] = {}  # {sender: the pieces of a message that is not complete}
        self._bytes = 0

    @staticmethod
    def cut(message: bytes, worker: str, max_bytes: int) -> Iterator[bytes]:
        """Returns the pieces of a message."""
        size = max(1, max_bytes - _PIECE_HEAD)
        parts = [message[at : at + size] for at in range(0, len(message), size)]
        for number, part in enumerate(parts):
            yield b"%d %d %b\n%b" % (number, len(parts), worker.encode(), part)

    def join(self, piece: bytes) -> bytes | None:
        """Returns the message that is complete with a piece; None if it is not."""
        head = _PIECE.match(piece)
        if head is None:
            return None
        number, count, sender = int(head[1]), int(head[2]), head[3]
        if number == 0:
            self._drop(sender)
            if count == 1:
                return piece[head.end() :]
            self._parts[sender] = []
        parts = self._parts.get(sender)
        if parts is None:
            return None
        parts.append(piece[head.end() :])
        self._bytes += len(parts[-1])
        if len(parts) != number + 1 or sum(map(len, parts)) > MESSAGE_BYTES:
            self._drop(sender)
        elif len(parts) == count:
            self._drop(sender)
            return b"".join(parts)
        while self._bytes > _WAITING_BYTES:
            self._drop(next(iter(self._parts)))
        return None

    def _drop(self, sender: bytes) -> None:
        self._bytes -= sum(map(len, self._parts.pop(sender, ())))


class NatsFleet:
    """One worker's connection to the others (`port.Fleet`).

    Args:
        address: The engine.
        options: As all nodes have them.
    """

    def __init__(self, address: Address, options: Options) -> None:
        self.worker = ""
        self._address = address
        self._options = options
        self._prefix = token_of(options.prefix)
        self._stream = f"{self._prefix}-cards"
        self._questions: Questions | None = None
        self._pieces = Pieces()
        self._link: Link | None = None
        self._lost = asyncio.Event()
        self._attempts = 0
        self._task: asyncio.Task[None] | None = None
        self._announced_at: float | None = None  # when the card was sent that has no reply yet
        self._card = b""

    async def start(self, asked: Asked) -> None:
        """Begins to connect."""
        self.worker = secrets.token_hex(4)
        self._questions = Questions(self.worker, send=self._send, asked=asked)
        self._task = asyncio.create_task(self._stay_connected(), name=f"fanwise fleet {self._address}")

    async def stop(self) -> None:
        """Takes the card back, if the link is up, and disconnects."""
        if self._link is not None:
            with suppress(OSError, ApiError):
                async with asyncio.timeout(self._options.check_seconds):
                    await api(self._link, f"STREAM.PURGE.{self._stream}", {"filter": self._subject(self.worker)})
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        self._questions = None

    def announce(self, card: bytes) -> None:
        """Keeps the card; a link that leaves the card before this one unanswered is given up."""
        if len(card) > CARD_BYTES:
            raise ValueError(f"a card has at most {CARD_BYTES} bytes, this one has {len(card)}")
        self._card = card
        if self._link is None:
            return
        now = time.monotonic()
        if self._announced_at is None:
            self._announced_at = now
            self._link.request(self._announced, self._subject(self.worker), card)
        elif now - self._announced_at > _SILENT_SECONDS:
            self._link.abort()

    async def workers(self) -> dict[str, bytes]:
        """Returns the cards. Raises BackplaneDownError."""
        link = self._link
        try:
            if link is None:
                raise LinkError("the link is lost")
            found = await collect(link, self._stream, {"deliver_policy": "all"})
        except (OSError, ApiError) as error:
            raise BackplaneDownError(str(error)) from error
        placed = [(place_of(one.reply)[1], one.subject.rsplit(b".", 1)[1], one.data) for one in found]
        newest = max((time_ns for time_ns, *_ in placed), default=0)
        return {
            name.decode(): card
            for time_ns, name, card in placed[-WORKERS:]
            if _NAME.fullmatch(name) and len(card) <= CARD_BYTES and newest - time_ns <= CARD_SECONDS * _NANOSECONDS
        }

    def ask(self, question: bytes, heard: Heard, *, to: str = "") -> Callable[[], None]:
        """Asks the others."""
        if self._questions is None:
            raise BackplaneDownError("the server stops")
        return self._questions.ask(question, heard, to=to)

    # Messages.

    def _send(self, to: str, message: bytes) -> None:
        link = self._link
        if link is None or link.unsent + len(message) > _WAITING_BYTES:
            return
        subject = f"{self._prefix}.to.{to}" if to else f"{self._prefix}.ask"
        for piece in Pieces.cut(message, self.worker, int(link.info["max_payload"])):
            link.publish(subject, piece)

    def _delivered(self, delivery: Delivery) -> None:
        message = self._pieces.join(delivery.data)
        if message is not None and self._questions is not None:
            self._questions.received(message)

    def _announced(self, reply: Delivery | Exception) -> None:
        self._announced_at = None
        if isinstance(reply, Delivery) and reply.status and self._link is not None:
            self._link.abort()  # the stream is gone

    def _subject(self, worker: str) -> str:
        return f"{self._prefix}.cards.{worker}"

    # The link.

    async def _stay_connected(self) -> None:
        while True:
            with suppress(OSError, SettingsError, ApiError):  # the backplane of this address logs why
                await self._connect()
            await asyncio.sleep(_PAUSE_SECONDS * random.uniform(0.1, 1.0))  # noqa: S311 - no secret

    async def _connect(self) -> None:
        """Connects, and returns or raises when the link is lost."""
        self._lost.clear()
        self._attempts += 1
        link = await dial(self._address, self._attempts, f"fanwise-{self.worker}-fleet", self._link_lost)
        try:
            async with asyncio.timeout(self._options.check_seconds):
                for subject in ("ask", f"to.{self.worker}"):
                    link.subscribe(f"{self._prefix}.{subject}", self._delivered)
                await api(link, f"STREAM.CREATE.{self._stream}", self._config())
            self._link = link
            self._announced_at = None
            if self._card:
                self.announce(self._card)
            await self._lost.wait()
        finally:
            self._link = None
            link.abort()

    def _link_lost(self, _link: Link) -> None:
        self._link = None
        self._lost.set()

    def _config(self) -> dict[str, Any]:
        return {
            "name": self._stream,
            "subjects": [f"{self._prefix}.cards.*"],
            "storage": "memory",
            "num_replicas": servers_of(self._options),
            "retention": "limits",
            "discard": "old",
            "max_msgs_per_subject": 1,
            "max_bytes": WORKERS * _CARD_SPACE,
            "max_age": int(CARD_SECONDS * _NANOSECONDS),
        }

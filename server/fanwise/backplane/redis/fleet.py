"""The workers behind one Redis, as one of them sees the others.

The link is one of its own: long answers delay no frame, and a worker that wants no more frames still answers.
"""

from __future__ import annotations

import asyncio
import random
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import hiredis

from ...errors import BackplaneDownError, SettingsError
from ..options import Options
from ..port import CARD_BYTES, CARD_SECONDS, WORKERS, Asked, Heard
from ..questions import Questions
from .address import Address
from .dial import Dialled, dial
from .link import Link, LinkError

_PAUSE_SECONDS: Final = 0.5  # between two attempts to connect
_SILENT_SECONDS: Final = 2.0  # for which a card may wait for its reply
_WAITING_BYTES: Final = 8_388_608  # of messages that Redis has not taken
_NAME: Final = re.compile(rb"[0-9a-f]{8}")


class RedisFleet:
    """One worker's connection to the others (`port.Fleet`).

    Args:
        address: The first shard.
        options: As all nodes have them.
    """

    def __init__(self, address: Address, options: Options) -> None:
        self.worker = ""
        self._address = address
        self._options = options
        self._prefix = f"{options.prefix}:{{0}}:"
        self._questions: Questions | None = None
        self._dialled: Dialled | None = None
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._waiting_bytes = 0  # of messages that have no reply yet
        self._announced_at: float | None = None  # when the card was sent that has no reply yet
        self._card = b""

    async def start(self, asked: Asked) -> None:
        """Begins to connect."""
        self.worker = secrets.token_hex(4)
        self._questions = Questions(self.worker, send=self._send, asked=asked)
        self._task = asyncio.create_task(self._stay_connected(), name=f"fanwise fleet {self._address}")

    async def stop(self) -> None:
        """Takes the card back, if the link is up, and disconnects."""
        if self._dialled is not None:
            with suppress(OSError, hiredis.ReplyError):
                async with asyncio.timeout(self._options.check_seconds):
                    await self._dialled.link.ask(*self._script(self._dialled, self.worker))
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
        if self._dialled is None:
            return
        now = time.monotonic()
        if self._announced_at is None:
            self._announced_at = now
            self._dialled.link.send(self._announced, *self._script(self._dialled, self.worker, card))
        elif now - self._announced_at > _SILENT_SECONDS:
            self._dialled.link.abort()

    async def workers(self) -> dict[str, bytes]:
        """Returns the cards. Raises BackplaneDownError."""
        dialled = self._dialled
        try:
            if dialled is None:
                raise LinkError("the link is lost")
            reply = await dialled.link.ask(*self._script(dialled, listed=WORKERS))
        except (OSError, hiredis.ReplyError) as error:
            raise BackplaneDownError(str(error)) from error
        names, cards = reply[::2], reply[1::2]
        return {
            name.decode(): card
            for name, card in zip(names, cards, strict=False)
            if _NAME.fullmatch(name) and len(card) <= CARD_BYTES
        }

    def ask(self, question: bytes, heard: Heard, *, to: str = "") -> Callable[[], None]:
        """Asks the others."""
        if self._questions is None:
            raise BackplaneDownError("the server stops")
        return self._questions.ask(question, heard, to=to)

    # Messages.

    def _send(self, to: str, message: bytes) -> None:
        if self._dialled is None or self._waiting_bytes + len(message) > _WAITING_BYTES:
            return
        self._waiting_bytes += len(message)
        channel = f"{self._prefix}to:{to}" if to else f"{self._prefix}ask"
        self._dialled.link.send(lambda _: self._sent(len(message)), "PUBLISH", channel, message)

    def _sent(self, size_bytes: int) -> None:
        self._waiting_bytes -= size_bytes

    def _pushed(self, message: bytes) -> None:
        if self._questions is not None:
            self._questions.received(message)

    # Cards.

    def _script(
        self, dialled: Dialled, worker: str = "", card: bytes = b"", listed: int = 0
    ) -> tuple[str | bytes | int, ...]:
        """Returns the command. Without a card, that of `worker` is taken back; `listed` cards at most are answered."""
        keys = (f"{self._prefix}workers", f"{self._prefix}cards")
        return "EVALSHA", dialled.scripts["workers"], 2, *keys, int(CARD_SECONDS * 1000), worker, card, listed

    def _announced(self, reply: Any) -> None:
        self._announced_at = None
        if isinstance(reply, hiredis.ReplyError) and self._dialled is not None:
            self._dialled.link.abort()  # the scripts are gone, or this is a replica now: dial anew

    # The link.

    async def _stay_connected(self) -> None:
        while True:
            with suppress(OSError, SettingsError, hiredis.ReplyError):  # the shard of this address logs why
                await self._connect()
            await asyncio.sleep(_PAUSE_SECONDS * random.uniform(0.1, 1.0))  # noqa: S311 - no secret

    async def _connect(self) -> None:
        """Connects, and returns or raises when the link is lost."""
        self._lost.clear()
        dialled = await dial(
            self._address,
            f"fanwise-{self.worker}-fleet",
            durable=self._options.durable,
            on_push=self._pushed,
            on_lost=self._link_lost,
        )
        try:
            async with asyncio.timeout(self._options.check_seconds):
                dialled.link.send_unanswered("SUBSCRIBE", f"{self._prefix}ask", f"{self._prefix}to:{self.worker}")
                await dialled.link.ask("PING")  # a refused subscription is the answer to this one
            self._dialled = dialled
            self._announced_at = None
            if self._card:
                self.announce(self._card)
            await self._lost.wait()
        finally:
            self._dialled = None
            dialled.link.abort()

    def _link_lost(self, _link: Link) -> None:
        self._dialled = None
        self._lost.set()

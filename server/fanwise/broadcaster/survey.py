"""Surveys: what is asked of all workers behind one engine, and what each of them answers.

A survey ends when all workers have answered that are listed, or after ASK_SECONDS: those that are listed and have not
answered are silent. What comes from other workers is bounded here, and read by those who ask.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import orjson

from ..backplane.port import ANSWER_BYTES, QUESTION_BYTES, Fleet
from ..core.codes import CodedError, ErrorCode
from ..errors import BackplaneDownError
from ..logs.events import Event, log
from ..version import SERVER_VERSION

ASK_SECONDS: Final = 0.3
GATHERED_BYTES: Final = 8_388_608  # of the answers to one question
_AT_ONCE: Final = 4  # surveys of one worker, and answers to others; the next ones wait
_MOST_WAITING: Final = 64
_MOST_ASKED: Final = 32  # questions of others that wait for their answers
_BETWEEN_CARDS_SECONDS: Final = 1.0
_NAME_CHARACTERS: Final = 64
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")

Answer: TypeAlias = Callable[[Mapping[str, Any], int], Awaitable[bytes]]
"""Returns the answer to a question: its parameters, which may be anything, and how many bytes the answer has at most.

Raises QuestionError for parameters that mean nothing.
"""


class QuestionError(ValueError):
    """A question that this worker does not understand."""


class Card(NamedTuple):
    """What a worker says of itself.

    Attributes:
        host: Name of the machine, or of the container.
        place: Workers with one place share a host; names of hosts may be the same on two machines.
        pid: The process, as its host numbers it.
        version: Of Fanwise.
    """

    host: str
    place: str
    pid: int
    version: str

    def to_json(self) -> bytes:
        """Returns the JSON text that `read_card` reads."""
        return orjson.dumps(self._asdict())


class Gathered(NamedTuple):
    """What a survey has found.

    Attributes:
        answers: {worker: its answer}, the own one among them.
        workers: {worker: card} of all that were asked.
        silent: Workers that have not answered, sorted.
    """

    answers: dict[str, bytes]
    workers: dict[str, Card]
    silent: list[str]


def own_card(host: str | None = None) -> Card:
    """Returns the card of this process. `host`: by default the name of the machine."""
    host = host or socket.gethostname()
    boot = ""
    with suppress(OSError):
        boot = _BOOT.read_text().strip()
    return Card(host[:_NAME_CHARACTERS], f"{host} {boot}"[: 2 * _NAME_CHARACTERS], os.getpid(), SERVER_VERSION)


def read_card(text: bytes) -> Card | None:
    """Returns the card in a JSON text; None if there is none."""
    try:
        fields = orjson.loads(text)
        card = Card(**{name: fields[name] for name in Card._fields})
    except (ValueError, LookupError, TypeError):
        return None
    texts = (card.host, card.place, card.version)
    if type(card.pid) is not int or not all(isinstance(one, str) and one.isprintable() for one in texts):
        return None
    return card


class Surveyed(Protocol):
    """A node that has other workers. `answers`: {kind of question: what answers it}."""

    answers: dict[str, Answer]

    @property
    def survey(self) -> Survey:
        """What asks them. Raises NotRunningError before the node's start."""

    @property
    def published(self) -> int:
        """Publications that were acknowledged to this worker."""


class Survey:
    """Owns the invariant that surveys are bounded: in number, in time, in bytes, and in questions that wait here.

    Args:
        fleet: The connection to the other workers.
        answers: {kind of question: what answers it}.
        card: What this worker says of itself; by default `own_card()`.
    """

    def __init__(self, fleet: Fleet, answers: Mapping[str, Answer], card: Card | None = None) -> None:
        self._answers = answers
        self._fleet = fleet
        self._card = card or own_card()
        self._known: dict[str, Card] = {}  # as the engine has last listed them
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0
        self._asked: asyncio.Queue[tuple[float, bytes, Callable[[bytes], None]]] = asyncio.Queue(_MOST_ASKED)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Makes this worker known to the others, and begins to answer."""
        await self._fleet.start(self._take)
        for work in (self._announce(), *(self._answer_all() for _ in range(_AT_ONCE))):
            self._tasks.add(asyncio.create_task(work, name="fanwise survey"))

    async def stop(self) -> None:
        """Takes the card back."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()
        await self._fleet.stop()

    @property
    def worker(self) -> str:
        """The name of this worker."""
        return self._fleet.worker

    @property
    def place(self) -> str:
        """The host of this worker, as its card has it."""
        return self._card.place

    # Asking.

    async def ask(self, kind: str, *, to: str = "", same_host: bool = False, **parameters: Any) -> Gathered:
        """Asks all workers, this one among them; or one other; or those of this host.

        Raises:
            CodedError: FULL: too many surveys wait. BAD_REQUEST: the parameters are too long.
        """
        if self._waiting >= _MOST_WAITING:
            raise CodedError(ErrorCode.FULL, f"{_MOST_WAITING} requests wait for other workers already")
        self._waiting += 1
        try:
            async with self._places:
                return await self._ask(kind, parameters, to=to, same_host=same_host)
        finally:
            self._waiting -= 1

    async def _ask(self, kind: str, parameters: dict[str, Any], *, to: str, same_host: bool) -> Gathered:
        most = min(ANSWER_BYTES, GATHERED_BYTES // max(1, len(self._known)))
        place = {"place": self._card.place} if same_host else {}
        question = orjson.dumps({**parameters, **place, "kind": kind, "bytes": most})
        if len(question) > QUESTION_BYTES:
            raise CodedError(ErrorCode.BAD_REQUEST, f"a parameter is longer than the {QUESTION_BYTES} bytes of all")
        if to:
            return self._sorted(await self._ask_others(question, to=to), to=to, same_host=same_host)
        own, others = await asyncio.gather(
            self._answers[kind](parameters, most), self._ask_others(question, same_host=same_host)
        )
        return self._sorted({self.worker: own, **others}, to=to, same_host=same_host)

    async def _ask_others(self, question: bytes, *, to: str = "", same_host: bool = False) -> dict[str, bytes]:
        answers: dict[str, bytes] = {}
        room, complete = GATHERED_BYTES, asyncio.Event()
        expected: set[str] | None = None

        def heard(worker: str, answer: bytes) -> None:
            nonlocal room
            if len(answer) <= room:
                room -= len(answer)
                answers[worker] = answer
                if expected is not None and expected <= answers.keys():
                    complete.set()

        with suppress(TimeoutError, BackplaneDownError):
            end = self._fleet.ask(question, heard, to=to)
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    await self._list()
                    expected = self._expected(to=to, same_host=same_host).keys() - {self.worker}
                    if not expected <= answers.keys():
                        await complete.wait()
            finally:
                end()
        return answers

    async def _list(self) -> None:
        cards = await self._fleet.workers()
        read = {worker: read_card(text) for worker, text in cards.items()}
        self._known = {worker: card for worker, card in read.items() if card is not None}

    def _expected(self, *, to: str, same_host: bool) -> dict[str, Card]:
        known = {**self._known, self.worker: self._card}
        return {
            worker: card
            for worker, card in known.items()
            if (not to or worker == to) and (not same_host or card.place == self._card.place)
        }

    def _sorted(self, answers: dict[str, bytes], *, to: str, same_host: bool) -> Gathered:
        workers = self._expected(to=to, same_host=same_host)
        found = {worker: answers[worker] for worker in sorted(answers) if worker in workers}
        return Gathered(found, workers, sorted(workers.keys() - found.keys()))

    # Answering.

    def _take(self, question: bytes, answer: Callable[[bytes], None]) -> None:
        with suppress(asyncio.QueueFull):  # who asks counts this worker as silent
            self._asked.put_nowait((asyncio.get_running_loop().time(), question, answer))

    async def _answer_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked_at, question, answer = await self._asked.get()
            if loop.time() - asked_at > ASK_SECONDS:
                continue
            try:
                found = await self._answer(question)
                if found is not None:
                    answer(found)
            except QuestionError:  # one of another version: who asks counts this worker as silent
                pass
            except Exception as error:  # noqa: BLE001 - the next question is answered
                log(Event.SURVEY_FAILED, error=error)

    async def _answer(self, question: bytes) -> bytes | None:
        """Returns the answer; None if another host is asked. Raises QuestionError."""
        try:
            asked = orjson.loads(question)
            kind, most = asked["kind"], asked["bytes"]
            place = asked.get("place", self._card.place)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise QuestionError(repr(question[:_NAME_CHARACTERS])) from error
        if type(kind) is not str or type(most) is not int or kind not in self._answers:
            raise QuestionError(repr(kind))
        return await self._answers[kind](asked, min(most, ANSWER_BYTES)) if place == self._card.place else None

    async def _announce(self) -> None:
        while True:
            self._fleet.announce(self._card.to_json())
            await asyncio.sleep(_BETWEEN_CARDS_SECONDS)

"""Questions that a worker has asked, and the messages in which questions and answers travel.

A message is "1 q number worker" or "1 a number worker", a line feed, and the question or the answer. The 1 is the
version of this form; a message of another version is dropped. `worker` has sent the message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from typing import Final, NamedTuple

from ..errors import BackplaneDownError
from .port import ANSWER_BYTES, OPEN_QUESTIONS, QUESTION_BYTES, WORKERS, Asked, Heard

_HEAD: Final = re.compile(rb"1 ([qa]) ([0-9]{1,18}) ([0-9a-f]{8})\n")
_HEAD_BYTES: Final = 32
MESSAGE_BYTES: Final = ANSWER_BYTES + _HEAD_BYTES

Send = Callable[[str, bytes], None]
"""Sends a message to a worker, or to all where its name is empty; loses it where that is impossible."""


class _Open(NamedTuple):
    heard: Heard
    answered: set[str]  # the workers that have answered


class Questions:
    """Owns the invariant that an answer is heard once per worker and question, and only while the question is open.

    Args:
        worker: The worker's name.
        send: Sends a message.
        asked: Hears the questions of others.
    """

    def __init__(self, worker: str, *, send: Send, asked: Asked) -> None:
        self._worker = worker
        self._send = send
        self._asked = asked
        self._open: dict[int, _Open] = {}  # {number: question}
        self._numbers = count(1)

    def ask(self, question: bytes, heard: Heard, *, to: str = "") -> Callable[[], None]:
        """Asks as `port.Fleet.ask` does."""
        if len(question) > QUESTION_BYTES:
            raise ValueError(f"a question has at most {QUESTION_BYTES} bytes, this one has {len(question)}")
        if len(self._open) >= OPEN_QUESTIONS:
            raise BackplaneDownError(f"{OPEN_QUESTIONS} questions to other workers are open already")
        number = next(self._numbers)
        self._open[number] = _Open(heard, set())
        self._send(to, b"1 q %d %b\n%b" % (number, self._worker.encode(), question))
        return lambda: self._end(number)

    def received(self, message: bytes) -> None:
        """Hears a message of anybody: drops what is too large, of another form, or no answer to an open question."""
        head = _HEAD.match(message)
        if head is None or len(message) > MESSAGE_BYTES:
            return
        kind, number, worker = head[1], int(head[2]), head[3].decode()
        if worker == self._worker:  # what is sent to all comes back
            return
        if kind == b"a":
            self._answered(number, worker, message[head.end() :])
        elif len(message) - head.end() <= QUESTION_BYTES:
            self._asked(message[head.end() :], lambda answer: self._answer(worker, number, answer))

    def _end(self, number: int) -> None:
        self._open.pop(number, None)

    def _answered(self, number: int, worker: str, answer: bytes) -> None:
        question = self._open.get(number)
        if question is not None and worker not in question.answered and len(question.answered) < WORKERS:
            question.answered.add(worker)
            question.heard(worker, answer)

    def _answer(self, worker: str, number: int, answer: bytes) -> None:
        if len(answer) > ANSWER_BYTES:
            raise ValueError(f"an answer has at most {ANSWER_BYTES} bytes, this one has {len(answer)}")
        self._send(worker, b"1 a %d %b\n%b" % (number, self._worker.encode(), answer))

"""A node that has joined others behind a backplane: what it shares with them, asks them, and sends to their clients."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from ..backplane.port import QUESTION_BYTES, Backplane
from ..core.codes import CodedError, ErrorCode
from ..core.hub import Hub
from ..core.publication import Publication
from ..core.rights import User
from ..errors import FanwiseError, MessageTooBigError
from .elsewhere import see_others
from .host import ClientHost
from .presence import Rosters
from .publisher import Payload, Publisher
from .sharing import Sharing
from .survey import Answer, Survey

SEND: Final = "send"  # the question that carries messages to other workers
_AT_ONCE: Final = 256  # messages of one question
_MOST_WAITING: Final = 4_096
_MOST_BYTES: Final = 16_777_216  # of the messages that wait, as they stand in questions
_HEAD_BYTES: Final = 256  # of a message in a question, and of the question beside its messages


class Joined:
    """Owns the invariant that what connects a node to others begins and ends together.

    Args:
        backplane: The node's connection to the engine.
        hub: The node's channels.
        publisher: What publishes to them.
        host: What its clients live on.
        rosters: Who is on its channels.
        answers: {kind of question: what answers it}; those of the node's own clients come to it.
    """

    def __init__(
        self,
        backplane: Backplane,
        hub: Hub,
        publisher: Publisher,
        host: ClientHost,
        rosters: Rosters,
        answers: dict[str, Answer],
    ) -> None:
        self.sharing = Sharing(backplane, hub, publisher, host.successors)
        answers[SEND] = host.direct.answer
        self.survey = Survey(backplane.fleet(), answers)
        see_others(rosters, self.survey, answers)
        self._direct = host.direct
        self._sender = FleetSender(self.survey)

    async def start(self) -> None:
        """Connects. Raises SettingsError if the engine refuses."""
        await self.sharing.start()
        await self.survey.start()

    async def stop(self) -> None:
        """Disconnects."""
        await self._sender.stop()
        await self.survey.stop()
        await self.sharing.stop()

    async def send_to(self, user: User | str, payload: Payload) -> int:
        """Sends a payload to the clients of a user on all workers: `FleetSender.send_to`."""
        message = self._direct.message(payload)
        return await self._sender.send_to(user if isinstance(user, str) else user.id, message)


class _Waiting(NamedTuple):
    """A message on its way to all workers."""

    user: str
    message: Publication
    future: asyncio.Future[int]


class FleetSender:
    """Sends payloads to the clients of a user on all workers. Messages that come together travel together, in order.

    Owns the invariant that one question of this worker is on its way at a time, and that those that wait are bounded.

    Args:
        survey: Asks the workers, this one among them.
    """

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0  # of those that wait
        self._task: asyncio.Task[None] | None = None

    async def send_to(self, user: str, message: Publication) -> int:
        """Sends a message; returns to how many clients, of the workers that have answered in time.

        Raises:
            CodedError: FULL: 4,096 messages wait already, or 16 MiB of them.
            MessageTooBigError: A question to other workers has no room for it.
        """
        limit = QUESTION_BYTES - 2 * _HEAD_BYTES
        size = _size(user, message)
        if size > limit:
            raise MessageTooBigError(size_bytes=len(message.payload), limit_bytes=(limit - len(user) * 6) * 3 // 4)
        if len(self._waiting) >= _MOST_WAITING or self._bytes + size > _MOST_BYTES:
            raise CodedError(ErrorCode.FULL, f"{len(self._waiting)} messages to users wait for other workers already")
        waiting = _Waiting(user, message, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._bytes += size
        if self._task is None:
            self._task = asyncio.create_task(self._send_all(), name="fanwise send_to")
        return await waiting.future

    async def stop(self) -> None:
        """Gives up what waits: it was sent to nobody, or to whom is not known."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                await self._send_some()
        finally:
            self._task = None
            for one in self._waiting:
                one.future.cancel()
            self._waiting.clear()
            self._bytes = 0

    async def _send_some(self) -> None:
        batch: list[_Waiting] = []
        size = 2 * _HEAD_BYTES
        while self._waiting and len(batch) < _AT_ONCE:
            own = _size(self._waiting[0].user, self._waiting[0].message)
            if batch and size + own > QUESTION_BYTES:
                break
            size += own
            self._bytes -= own
            batch.append(self._waiting.popleft())
        try:
            gathered = await self._survey.ask(SEND, messages=[_question(one) for one in batch])
        except FanwiseError as error:
            for one in batch:
                if not one.future.done():
                    one.future.set_exception(error)
            return
        except asyncio.CancelledError:
            for one in batch:
                one.future.cancel()
            raise
        counts = [_counts(answer, len(batch)) for answer in gathered.answers.values()]
        for one, *each in zip(batch, *counts, strict=True):
            if not one.future.done():
                one.future.set_result(sum(each))


def _size(user: str, message: Publication) -> int:
    """Returns what a message takes in a question, at most: a character may be written as six."""
    return _HEAD_BYTES + 6 * len(user) + 4 * (len(message.payload) + 2) // 3


def _question(one: _Waiting) -> dict[str, str]:
    return {"user": one.user, "kind": one.message.kind.value, "data": base64.b64encode(one.message.payload).decode()}


def _counts(answer: bytes, number: int) -> Sequence[int]:
    """Returns the counts in an answer of another worker, or zeros where it has none."""
    try:
        counts = orjson.loads(answer)
    except ValueError:
        counts = None
    if isinstance(counts, list) and len(counts) == number and all(type(one) is int for one in counts):
        return counts
    return [0] * number

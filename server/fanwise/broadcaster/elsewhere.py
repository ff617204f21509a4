"""The users of other workers: asked for when somebody wants to know, and once a second while somebody watches.

A worker that is asked keeps a journal of what changes; so an answer has the changes since the one before. A worker that
is new here, or whose journal does not reach back, is asked for the users of the watched channels. A worker that is no
longer listed has gone: that is known after CARD_SECONDS, and its users leave with the next question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Final

import orjson

from ..core.codes import CodedError
from ..core.presence import Presence, Roster
from ..core.rights import User
from ..errors import UserError
from ..logs.events import Event, log
from .presence import MOST_LISTED, Rosters
from .presence_answers import MOST_CHANNELS, PresenceAnswers
from .survey import Answer, Gathered, Survey
from .turns import SharedTurn

POLL_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 0.05  # between two questions while there is more to hear
_NAMES_BYTES: Final = 3_000  # of the channels in one question
_WORKERS_AT_ONCE: Final = 100  # whose numbers fit into one question
_AT_ONCE: Final = 2  # questions of users of this worker, so that operators have places too
_MOST_WAITING: Final = 256  # questions that wait; more are answered by this worker alone


class Elsewhere:
    """The users of other workers (`presence.OtherWorkers`). Owns the invariant that questions are few and bounded.

    Args:
        survey: Asks the workers.
        rosters: Those of this worker.
    """

    def __init__(self, survey: Survey, rosters: Rosters) -> None:
        self._survey = survey
        self._rosters = rosters
        self._seen: dict[str, int] = {}  # {worker: number of the latest change that was heard}
        self._workers: set[str] = set()  # that may have users in the rosters
        self._to_agree: dict[str, None] = {}  # channels whose users have to be asked for
        self._task: asyncio.Task[None] | None = None
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    def watched(self, channel: str) -> None:
        """Hears that somebody begins to watch a channel. O(1)."""
        self._to_agree[channel] = None
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="fanwise presence elsewhere")

    def stop(self) -> None:
        """Asks no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    # Who is on a channel now.

    async def presence(self, channel: str, limit: int) -> Presence:
        """Returns who is on a channel of any worker. Too many questions at a time are answered by this one alone."""
        if self._waiting >= _MOST_WAITING:
            return self._rosters.here(channel, limit)._replace(truncated=True)
        self._waiting += 1
        try:
            async with self._places:
                gathered = await self._survey.ask("presence", channel=channel, limit=limit)
        except CodedError:
            return self._rosters.here(channel, limit)._replace(truncated=True)
        finally:
            self._waiting -= 1
        return await _join(channel, limit, gathered)

    # What changes.

    async def _run(self) -> None:
        while self._rosters.watched:
            more = False
            try:
                more = await self._poll()
                await self._agree_some()
            except CodedError:  # too many other questions wait: the next one comes
                pass
            except Exception as error:  # noqa: BLE001 - the next question is asked
                log(Event.SURVEY_FAILED, error=error)
            await asyncio.sleep(_AGAIN_SECONDS if more else POLL_SECONDS)
        self._task = None
        self._seen.clear()
        self._workers.clear()
        self._to_agree.clear()

    async def _poll(self) -> bool:
        """Asks for what has changed; returns whether there is more to ask for."""
        asked = dict(islice(self._seen.items(), _WORKERS_AT_ONCE))
        gathered = await self._survey.ask("presence_changes", by=self._survey.worker, seen=asked)
        more = False
        for worker, answer in gathered.answers.items():
            if worker != self._survey.worker:
                more = await self._hear(worker, answer, asked) or more
        for worker in self._workers - gathered.workers.keys():
            self._workers.discard(worker)
            self._seen.pop(worker, None)
            for channel in list(self._rosters.watched):
                await self._in_turn(channel, partial(Roster.gone, worker=worker))
        for worker in asked.keys() & self._seen.keys():
            self._seen[worker] = self._seen.pop(worker)  # to the end: the others' numbers come next
        return more or bool(self._to_agree)

    async def _hear(self, worker: str, answer: bytes, asked: dict[str, int]) -> bool:
        """Takes over what another worker has answered; returns whether it has more to tell."""
        head, *lines = answer.split(b"\n")
        try:
            told = orjson.loads(head)
        except ValueError:
            return False
        number = told.get("number") if isinstance(told, dict) else None
        if not isinstance(told, dict) or type(number) is not int:
            return False
        if told.get("known") is not True:
            if worker in asked or worker not in self._seen:
                self._seen[worker] = number
                self._workers.add(worker)
                self._to_agree.update(dict.fromkeys(self._rosters.watched))
            return False
        self._seen[worker] = number
        turn = SharedTurn()
        for line in lines:
            with suppress(ValueError, TypeError, UserError):
                self._apply(worker, *orjson.loads(line))
            await turn.give_way()
        return told.get("more") is True

    def _apply(self, worker: str, channel: str, user_id: str, *info: Any) -> None:
        roster = self._rosters.watched.get(channel)
        if roster is None:
            return
        user = User(user_id, *info)
        if info:
            roster.came(worker, user)
        else:
            roster.went(worker, user.id)
        self._rosters.announce(channel, roster)

    async def _agree_some(self) -> None:
        """Asks for all users of some watched channels."""
        channels: list[str] = []
        room = _NAMES_BYTES
        for channel in islice(self._to_agree, MOST_CHANNELS):
            room -= len(channel) + 3
            if channels and room < 0:
                break
            channels.append(channel)
        if not channels:
            return
        gathered = await self._survey.ask("presence_users", channels=channels)
        for channel in channels:
            self._to_agree.pop(channel, None)
        for worker in gathered.silent:  # as soon as one answers, all is asked for
            self._seen.pop(worker, None)
        for worker, answer in gathered.answers.items():
            if worker != self._survey.worker:
                await self._agree(worker, answer, channels)

    async def _agree(self, worker: str, answer: bytes, channels: list[str]) -> None:
        users: dict[str, set[str] | None] = {}
        turn = SharedTurn()
        for line in answer.split(b"\n"):
            with suppress(ValueError, TypeError):
                channel, ids = orjson.loads(line)
                known = users.setdefault(channel, set())
                if ids is None or known is None or len(known) > MOST_LISTED:
                    users[channel] = None
                else:
                    known.update(user_id for user_id in ids if type(user_id) is str)
            await turn.give_way()
        for channel in channels:
            if channel in users:
                await self._in_turn(channel, partial(Roster.agree, worker=worker, users=users[channel]))

    async def _in_turn(self, channel: str, change: Callable[[Roster], Iterator[None]]) -> None:
        """Changes the roster of a channel that is still watched, and has what has changed told."""
        roster = self._rosters.watched.get(channel)
        if roster is None:
            return
        turn = SharedTurn()
        for _ in change(roster):
            await turn.give_way()
            if channel not in self._rosters.watched:
                return
        self._rosters.announce(channel, roster)
        await turn.give_way()


def see_others(rosters: Rosters, survey: Survey, answers: dict[str, Answer]) -> None:
    """Has the users of other workers known to `rosters`, and those of `rosters` to other workers."""
    answers.update(PresenceAnswers(rosters, lambda: survey.worker).by_kind())
    rosters.others = Elsewhere(survey, rosters)


async def _join(channel: str, limit: int, gathered: Gathered) -> Presence:
    """Returns who is on a channel, as several workers have answered. Holds the loop for 1 ms at a time."""
    clients = users = rows = 0
    found: set[str] = set()
    members: list[User] = []
    complete, turn = not gathered.silent, SharedTurn()
    for answer in gathered.answers.values():
        head, *lines = answer.split(b"\n", MOST_LISTED)
        try:
            told = orjson.loads(head)
            clients += int(told["clients"])
            users += int(told["users"])
            for line in lines:
                user_id, *info = orjson.loads(line)
                rows += 1
                if user_id not in found:
                    found.add(user_id)
                    if info and len(members) < limit:
                        members.append(User(user_id, *info))
                await turn.give_way()
        except (LookupError, TypeError, ValueError, UserError):
            complete = False
    users -= rows - len(found)  # who is at several workers counts once, as far as that is known
    return Presence(channel, clients, users, members, truncated=not complete or len(members) < users)

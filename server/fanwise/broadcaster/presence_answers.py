"""What this worker answers when another one asks who is on its channels. Answers are JSON in lines.

presence          {"channel", "limit"}: a line of counts, and a line for each user: [id, info] for the first
                  `limit`, [id] for the others
presence_changes  {"by", "seen": {worker: number}}: a line with the number of the latest change, and a line for each
                  change after the number that was seen: [channel, id, info] or [channel, id]
presence_users    {"channels"}: lines of [channel, [id, ...]]; [channel, null] where there are too many
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import orjson

from ..core.presence import Roster
from .presence import MOST_LISTED, Rosters
from .survey import Answer, QuestionError
from .turns import SharedTurn

MOST_CHANNELS: Final = 512  # in one question: more do not fit
_IDS_A_LINE: Final = 256
_HEAD_BYTES: Final = 128


class PresenceAnswers:
    """Answers of one worker. Each holds the loop for 1 ms at a time.

    Args:
        rosters: The worker's.
        worker: Returns its name.
    """

    def __init__(self, rosters: Rosters, worker: Callable[[], str]) -> None:
        self._rosters = rosters
        self._worker = worker

    def by_kind(self) -> dict[str, Answer]:
        """Returns {kind of question: what answers it}."""
        return {
            "presence": self._presence,
            "presence_changes": self._changes,
            "presence_users": self._users,
        }

    async def _presence(self, parameters: Mapping[str, Any], most_bytes: int) -> bytes:
        channel, limit = parameters.get("channel"), parameters.get("limit")
        if type(channel) is not str or type(limit) is not int or not 0 <= limit <= MOST_LISTED:
            raise QuestionError("presence")
        here = self._rosters.here(channel, MOST_LISTED)
        lines = [orjson.dumps({"clients": here.clients, "users": here.users})]
        room, turn = most_bytes - len(lines[0]), SharedTurn()
        for place, user in enumerate(here.members):
            line = orjson.dumps([user.id, user.info] if place < limit and 2 * room > most_bytes else [user.id])
            room -= len(line) + 1
            if room < 0:
                break
            lines.append(line)
            await turn.give_way()
        return b"\n".join(lines)

    async def _changes(self, parameters: Mapping[str, Any], most_bytes: int) -> bytes:
        by, seen = parameters.get("by"), parameters.get("seen")
        if type(by) is not str or not isinstance(seen, dict):
            raise QuestionError("presence_changes")
        worker = self._worker()
        if by == worker:
            return b"null"
        number, journal = seen.get(worker), self._rosters.journal()
        changes = journal.after(number) if type(number) is int else None
        if changes is None:
            return orjson.dumps({"number": journal.number, "known": False})
        lines, room, turn = [], most_bytes - _HEAD_BYTES, SharedTurn()
        for change in changes:
            line = self._change(change.channel, change.user_id)
            room -= len(line) + 1
            if room < 0:
                break
            lines.append(line)
            number = change.number
            await turn.give_way()
        return b"\n".join([orjson.dumps({"number": number, "known": True, "more": room < 0}), *lines])

    def _change(self, channel: str, user_id: str) -> bytes:
        roster = self._rosters.rosters.get(channel)
        member = None if roster is None else roster.members.get(user_id)
        return orjson.dumps([channel, user_id] if member is None else [channel, user_id, member.user.info])

    async def _users(self, parameters: Mapping[str, Any], most_bytes: int) -> bytes:
        channels = parameters.get("channels")
        if not isinstance(channels, list) or len(channels) > MOST_CHANNELS:
            raise QuestionError("presence_users")
        lines, turn = [], SharedTurn()
        share = most_bytes // max(1, len(channels))
        for channel in channels:
            if type(channel) is not str:
                raise QuestionError("presence_users")
            roster = self._rosters.rosters.get(channel)
            room, own = max(share, most_bytes // 2), []
            for line in _lines_of(channel, roster):
                room -= len(line) + 1
                own.append(line)
                if room < 0:
                    break
                await turn.give_way()
            if room < 0:
                own = [orjson.dumps([channel, None])]
            most_bytes -= sum(map(len, own)) + len(own)
            lines += own
        return b"\n".join(lines)


def _lines_of(channel: str, roster: Roster | None) -> Iterator[bytes]:
    users = [] if roster is None else list(islice(roster.members, MOST_LISTED + 1))
    if len(users) > MOST_LISTED:
        yield orjson.dumps([channel, None])
        return
    for start in range(0, max(1, len(users)), _IDS_A_LINE):
        yield orjson.dumps([channel, users[start : start + _IDS_A_LINE]])

"""The users on a channel, as JSON: over HTTP, and in the JSON dialect."""

from __future__ import annotations

from typing import Final

import orjson

from ..broadcaster.turns import SharedTurn
from ..core.presence import Presence

MOST_MEMBERS: Final = 1_000  # users in one answer
MEMBERS_BYTES: Final = 65_536  # and the bytes of their text


async def presence_json(found: Presence, **fields: str | int) -> bytes:
    """Returns the JSON of who is on a channel, behind `fields`, with at most 64 KiB of users.

    Holds the loop for 1 ms at a time.
    """
    counts = {"channel": found.channel, "clients": found.clients, "users": found.users}
    texts, room, turn = [], MEMBERS_BYTES, SharedTurn()
    for user in found.members:
        text = orjson.dumps({"id": user.id, "info": user.info})
        room -= len(text) + 1
        if room < 0:
            break
        texts.append(text)
        await turn.give_way()
    truncated = b"true" if found.truncated or room < 0 else b"false"
    begin = orjson.dumps({**fields, **counts})[:-1]
    return b'%b,"members":[%b],"truncated":%b}' % (begin, b",".join(texts), truncated)

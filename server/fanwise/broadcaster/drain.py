"""Draining: clients leave one after the other, so that they do not all come back in the same moment."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence

from ..core.reasons import CloseReason
from .client import Client, State

_STEP_SECONDS = 0.02  # between two looks at who has caught up and whose turn it is
_LAST_CALL = 0.8  # after this part of the time, those who are behind are closed too: closing takes its time
_RETRY_MS = 500  # the first comes back after so long
_RETRY_STEP_MS = 2  # and each next one so much later: 500 a second, what one process takes in with ease


def restart_text(place: int) -> str:
    """The close frame's text for the client at `place` of those who come back: JSON, under 123 bytes."""
    return json.dumps({"reason": "restart", "retry_ms": _RETRY_MS + place * _RETRY_STEP_MS}, separators=(",", ":"))


async def drain(clients: Sequence[Client], *, seconds: float) -> None:
    """Closes `clients` with SHUTDOWN within `seconds`: evenly spread, those behind later, and the last by force."""
    clock = asyncio.get_running_loop().time
    start = clock()
    end, last_call = start + seconds, start + seconds * _LAST_CALL
    waiting = random.sample(clients, len(clients))
    closed = 0
    while waiting and clock() < last_call:
        due = 1 + len(clients) * (clock() - start) / (last_call - start) - closed
        behind = []
        for client in waiting:
            if due < 1 or client.state is State.BEHIND:
                behind.append(client)
            else:
                client.close(CloseReason.SHUTDOWN, text=restart_text(closed), within_seconds=end - clock())
                closed += 1
                due -= 1
        waiting = [client for client in behind if client.state in (State.BEHIND, State.READY)]
        await asyncio.sleep(_STEP_SECONDS)
    for client in waiting:
        client.close(CloseReason.SHUTDOWN, text=restart_text(closed), within_seconds=max(0.0, end - clock()))
        closed += 1
    await asyncio.sleep(_STEP_SECONDS)  # also when there is no time at all: their tasks send the close frames
    while clock() < end and any(client.state is State.CLOSING for client in clients):  # noqa: ASYNC110 - and the time
        await asyncio.sleep(_STEP_SECONDS)
    for client in clients:
        client.abort(CloseReason.SHUTDOWN)

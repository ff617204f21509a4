"""Two workers behind an engine in memory, on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from fanwise import Broadcaster
from fanwise.backplane.memory import MemoryEngine
from fanwise.embedding import SharedBroadcaster

from ...support.live import Live, app_of, running, until
from ...support.patience import patient


class Workers(NamedTuple):
    """Two workers: their engine, names and broadcasters, and where they listen. Clients that do not read stay."""

    engine: MemoryEngine
    names: tuple[str, str]
    nodes: tuple[SharedBroadcaster, SharedBroadcaster]
    lives: tuple[Live, Live]


@pytest.fixture
async def workers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workers]:
    """They wait for each other: a test that waits in vain is impatient."""
    patient(monkeypatch)
    engine = MemoryEngine()
    room: dict[str, Any] = {"stall_seconds": 600, "queue_messages": 100_000, "queue_bytes": 33_554_432}
    one, two = (Broadcaster(backplane=engine.backplane(), **room) for _ in range(2))
    assert isinstance(one, SharedBroadcaster)
    assert isinstance(two, SharedBroadcaster)
    async with running(app_of(one.router)) as here, running(app_of(two.router)) as there:
        await until(lambda: len(engine.room.listed()) == 2)
        yield Workers(engine, (one.survey.worker, two.survey.worker), (one, two), (here, there))

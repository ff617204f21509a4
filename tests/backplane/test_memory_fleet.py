from __future__ import annotations

import pytest

from fanwise.backplane.memory import MemoryEngine
from fanwise.errors import BackplaneDownError

pytestmark = pytest.mark.anyio


async def test_a_card_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a worker that was killed is listed for five seconds."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    fleet = MemoryEngine().backplane().fleet()
    await fleet.start(lambda *_: None)
    fleet.announce(b"card")
    now = 104.9
    assert await fleet.workers() == {fleet.worker: b"card"}
    now = 105.1
    assert await fleet.workers() == {}


async def test_a_stalled_engine_lists_nobody() -> None:
    """It says so, and what is asked is lost."""
    engine = MemoryEngine()
    fleet = engine.backplane().fleet()
    with pytest.raises(BackplaneDownError):
        fleet.ask(b"x", lambda *_: None)
    await fleet.start(lambda *_: None)
    engine.stall()
    fleet.announce(b"card")
    fleet.ask(b"x", lambda *_: None)
    with pytest.raises(BackplaneDownError):
        await fleet.workers()

from __future__ import annotations

import pytest

from server.client import Client
from server.reasons import CloseReason
from server.roster import Roster

from .fakes import FakeSink
from .test_client import Scene
from .test_hub import publish

pytestmark = pytest.mark.anyio


def make_roster() -> tuple[Roster, Scene, list[Client]]:
    left: list[Client] = []
    roster = Roster(leave=left.append)
    setting = Scene(FakeSink())
    setting.client._on_change = roster.changed
    roster.add(setting.client)
    return roster, setting, left


async def test_a_client_is_counted_once() -> None:
    """However often it is added or changes."""
    roster, setting, _ = make_roster()
    roster.add(setting.client)
    assert list(roster) == [setting.client]


async def test_a_client_leaves_once() -> None:
    """Closing and closed are one departure, counted under the first reason."""
    roster, setting, left = make_roster()
    setting.client.close(CloseReason.SLOW)
    setting.sink.end(clean=False)
    assert left == [setting.client]
    assert len(roster) == 0
    assert dict(roster.closed) == {CloseReason.SLOW: 1}


async def test_the_audit_closes_who_is_over_its_bounds_and_no_other() -> None:
    """A paused client within its bounds stays; beyond them it goes, and it is told why."""
    roster, setting, left = make_roster()
    setting.sink.pause()
    for _ in range(20):
        publish(setting.hub, setting.channels["a"])
    roster.audit()
    assert left == []
    publish(setting.hub, setting.channels["a"])
    roster.audit()
    assert setting.client.reason is CloseReason.SLOW


async def test_who_is_ready_is_not_looked_at() -> None:
    """The audit costs only those who are behind."""
    roster, setting, _ = make_roster()
    setting.client._join()
    assert not roster._behind
    setting.sink.pause()
    assert list(roster._behind) == [setting.client]

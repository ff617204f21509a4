from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from fanwise import Broadcaster
from fanwise.broadcaster.event_log import EventLog
from fanwise.broadcaster.registry import ClosedClient
from fanwise.core.reasons import CloseReason
from fanwise.logs.events import Event

from ..support.live import until
from .test_node import joined

pytestmark = pytest.mark.anyio


class Scene:
    """EventLog with a clock that is told what time it is, and the events that they log."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.now = 1000.0
        self.event_log = EventLog(memory_bytes=5000, late_seconds=1.0, clock=lambda: self.now)
        self._caplog = caplog
        caplog.set_level(logging.DEBUG, "fanwise")

    async def something(self) -> None:
        """Returns when something was logged."""
        await until(lambda: bool(self._caplog.records))

    def events(self) -> list[dict[str, Any]]:
        """What was logged since the last call: code, level and fields."""
        found = [
            {"code": vars(record)["code"], "level": record.levelname}
            | {name: vars(record)[name] for name in Event[vars(record)["code"].upper()].fields}
            for record in self._caplog.records
        ]
        self._caplog.clear()
        return found


@pytest.fixture
def scene(caplog: pytest.LogCaptureFixture) -> Scene:
    return Scene(caplog)


def gone(reason: CloseReason, *, behind_seconds: float | None = 2.5) -> ClosedClient:
    return ClosedClient("c1", "1.2.3.4:5", reason, 0.0, 7, 800, 3, behind_seconds)


async def test_who_was_dropped_is_one_line(scene: Scene) -> None:
    """Who, from where, why, and how far behind: all that tells whether the limits or the client are to blame."""
    scene.event_log.closed(gone(CloseReason.SLOW))
    assert scene.events() == [
        {
            "code": "client_dropped",
            "level": "WARNING",
            "client": "c1",
            "address": "1.2.3.4:5",
            "reason": "slow",
            "lag": 7,
            "lag_bytes": 800,
            "behind_seconds": 2.5,
            "channels": 3,
        }
    ]


@pytest.mark.parametrize("reason", CloseReason, ids=lambda reason: reason.name)
async def test_what_the_end_of_a_connection_is_in_the_log(scene: Scene, reason: CloseReason) -> None:
    """A warning where the server gave a client up, information where somebody closed it, nothing where it ended."""
    scene.event_log.closed(gone(reason, behind_seconds=None))
    levels = {"slow": "WARNING", "stalled": "WARNING", "memory": "WARNING", "no_pong": "WARNING"}
    levels |= dict.fromkeys(["protocol_error", "bad_text", "rate", "too_big"], "INFO")
    levels |= dict.fromkeys(
        ["internal", "full", "refused", "backplane", "unauthorised", "forbidden", "operator", "expired"], "INFO"
    )
    found = {event["reason"]: event["level"] for event in scene.events()}
    assert found == {name: level for name, level in levels.items() if name == reason.name.lower()}


async def test_short_memory_is_told_once_a_minute(scene: Scene) -> None:
    """With what went since it was last told: nothing is left out, however long it goes on and however it ends."""
    short = {"code": "memory_short", "level": "WARNING", "memory_bytes": 5000}
    scene.event_log.audited(freed_bytes=0, retained_bytes=10)
    assert scene.events() == []
    scene.event_log.audited(freed_bytes=100, retained_bytes=4900)
    assert scene.events() == [{**short, "freed_bytes": 100, "aborted": 0, "retained_bytes": 4900}]
    for _ in range(10):
        scene.now += 5.9
        scene.event_log.audited(freed_bytes=100, retained_bytes=4900)
        scene.event_log.closed(gone(CloseReason.MEMORY))
    assert {event["code"] for event in scene.events()} == {"client_dropped"}
    scene.now += 1
    scene.event_log.audited(freed_bytes=0, retained_bytes=4000)
    assert scene.events() == [{**short, "freed_bytes": 1000, "aborted": 10, "retained_bytes": 4000}]
    scene.now += 1000
    scene.event_log.audited(freed_bytes=0, retained_bytes=4000)
    assert scene.events() == []


async def test_a_late_loop_is_told(scene: Scene) -> None:
    """When it was later than it may be; a delay is no line."""
    for late_seconds in (0.0, 0.9, 1.0, 1.5):
        scene.event_log.looked(late_seconds)
    assert scene.events() == [{"code": "loop_late", "level": "WARNING", "late_seconds": 1.5, "limit_seconds": 1.0}]


async def test_an_audit_that_dies_is_logged(scene: Scene) -> None:
    """With its error; one that was cancelled did not die."""

    async def die() -> None:
        raise ValueError("no")

    cancelled = asyncio.create_task(asyncio.Event().wait())
    cancelled.cancel()
    dead = asyncio.create_task(die())
    await asyncio.wait([cancelled, dead])
    scene.event_log.audit_ended(cancelled)
    scene.event_log.audit_ended(dead)
    (event,) = scene.events()
    assert (event["code"], event["level"], event["error"]) == ("audit_died", "ERROR", "ValueError('no')")


async def test_a_client_that_cannot_be_served_is_logged(scene: Scene) -> None:
    """With the error, and which client it is."""
    scene.event_log.writer_failed("c1", ValueError("no"))
    (event,) = scene.events()
    assert (event["code"], event["client"], event["error"]) == ("writer_died", "c1", "ValueError('no')")


async def test_a_broadcaster_tells_of_clients_that_it_drops(scene: Scene) -> None:
    """Each of them once."""
    async with Broadcaster(stall_seconds=0.01, queue_messages=1) as broadcaster, joined(broadcaster) as (_, sink):
        sink.pause()
        await until(lambda: sink.aborted)
    assert [(event["code"], event["reason"], event["channels"]) for event in scene.events()] == [
        ("client_dropped", "stalled", 1)
    ]


async def test_a_broadcaster_tells_when_memory_is_short(scene: Scene) -> None:
    """And by how much."""
    payload = "x" * 60_000
    async with Broadcaster(memory_bytes=2_000_000, history_bytes=1_000_000, queue_bytes=100_000) as broadcaster:
        for number in range(100):
            await broadcaster.publish(f"{number}", payload)
        await scene.something()
    (event,) = scene.events()
    assert event["code"] == "memory_short"
    assert event["freed_bytes"] > 4_000_000
    assert event["retained_bytes"] <= event["memory_bytes"] == 2_000_000


async def test_a_broadcaster_tells_when_the_loop_is_late(scene: Scene) -> None:
    """Any delay is too long here."""
    async with Broadcaster(ready_lag_seconds=0.0):
        await scene.something()
    event = scene.events()[0]
    assert event["code"] == "loop_late"
    assert event["late_seconds"] > event["limit_seconds"] == 0.0

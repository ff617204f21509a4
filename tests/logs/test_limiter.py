from __future__ import annotations

import logging

import pytest

from fanwise.logs.limiter import Limiter, kind_of


class Scene:
    """A limiter with a clock that is told what time it is."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.limiter = Limiter(burst_lines=3, line_seconds=2.0, clock=lambda: self.now)

    def log(
        self, code: str = "refused", *, name: str = "fanwise", level: str = "WARNING", template: object = ""
    ) -> logging.LogRecord | None:
        """The record if it may be written."""
        record = logging.makeLogRecord({"name": name, "levelname": level, "msg": template, "code": code})
        return record if self.limiter.filter(record) else None


def notes(record: logging.LogRecord | None) -> dict[str, object]:
    assert record is not None
    return {name: value for name, value in vars(record).items() if name in ("suppressed", "limited")}


def test_a_burst_passes_and_then_one_now_and_then() -> None:
    """The last one before others are left out says so; the next one says how many were."""
    scene = Scene()
    assert [notes(scene.log("stopping")) for _ in range(3)] == [{}, {}, {"limited": True}]
    assert [scene.log("stopping") for _ in range(100)] == [None] * 100
    scene.now += 1.9
    assert scene.log("stopping") is None
    scene.now += 0.1
    assert notes(scene.log("stopping")) == {"suppressed": 101, "limited": True}
    assert scene.log("stopping") is None
    scene.now += 60
    assert [notes(scene.log("stopping")) for _ in range(3)] == [{"suppressed": 1}, {}, {"limited": True}]


def test_in_the_long_run_the_rate_holds() -> None:
    """However the lines are spread: every line is written or counted."""
    scene = Scene()
    written, told = 0, 0
    for _ in range(10_000):
        record = scene.log("stopping")
        written += record is not None
        told += 0 if record is None else getattr(record, "suppressed", 0)
        scene.now += 0.01
    assert 52 <= written <= 54  # 3 at once, and 100 seconds
    scene.now += 10
    told += getattr(scene.log("stopping"), "suppressed", 0)
    assert written + told == 10_000


def test_what_was_left_out_is_told_when_it_is_quiet() -> None:
    """A flood that ends is not forgotten: its number can be asked for, once. That line itself is never left out."""
    scene = Scene()
    for _ in range(10):
        scene.log("stopping")
        scene.log(name="asyncio", template="x\ny")
    scene.now += 1
    scene.log("stopping")
    scene.now += 4
    assert scene.limiter.take_left_out(quiet_seconds=5) == {"asyncio: warning": 7}
    scene.now += 1
    assert scene.limiter.take_left_out(quiet_seconds=5) == {"stopping": 8}
    assert scene.limiter.take_left_out(quiet_seconds=0) == {}
    assert notes(scene.log("stopping")) == {}
    assert [notes(scene.log("left_out")) for _ in range(10)] == [{}] * 10


def test_kinds_do_not_disturb_each_other() -> None:
    """A flood of one leaves the others readable; of other libraries each level of a logger is a kind."""
    scene = Scene()
    for number in range(10):
        scene.log("stopping")
        scene.log(name="uvicorn.error", template=f"Invalid HTTP request {number} received.")
    assert scene.log("stopped") is not None
    assert scene.log(name="uvicorn.error", level="ERROR", template="Exception in ASGI application") is not None
    assert scene.log(name="asyncio", template="Invalid HTTP request received.") is not None
    assert scene.log("stopping") is None
    assert scene.log(name="uvicorn.error", template="another") is None


@pytest.mark.parametrize(
    ("name", "code", "level", "kind"),
    [
        ("fanwise", "started", "INFO", "started"),
        ("fanwise.client", "started", "INFO", "fanwise.client: info"),
        ("asyncio", "", "ERROR", "asyncio: error"),
    ],
)
def test_what_is_of_a_kind(name: str, code: str, level: str, kind: str) -> None:
    """Our own by code, others by logger and level: what a line says makes no new kind, so that memory is bounded."""
    for message in ("x" * 1000, OSError("x")):
        made = {"name": name, "msg": message, "code": code, "levelname": level}
        assert kind_of(logging.makeLogRecord(made)) == kind


def test_a_clock_that_stands_still_lets_nothing_pass() -> None:
    """Only time makes room."""
    scene = Scene()
    assert sum(scene.log("stopping") is not None for _ in range(10_000)) == 3

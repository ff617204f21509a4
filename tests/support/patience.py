"""Workers that wait for each other, on a machine that has much else to do."""

from __future__ import annotations

import pytest

PATIENCE_SECONDS = 60.0


def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is silent or forgotten because this machine is busy."""
    for name in (
        "broadcaster.survey.ASK_SECONDS",
        "backplane.memory_fleet.CARD_SECONDS",
        "backplane.redis.fleet.CARD_SECONDS",
    ):
        monkeypatch.setattr(f"fanwise.{name}", PATIENCE_SECONDS)


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who do not answer are silent soon."""
    monkeypatch.setattr("fanwise.broadcaster.survey.ASK_SECONDS", 0.1)

from __future__ import annotations

import pytest

from .all import GATES, REVISION, Look, report, worse


def test_what_a_gate_has_caught_is_told_in_its_own_lines() -> None:
    """Those about what is worse; of a gate that could not look, the last ones."""
    said = "publish 100 100 +0.00 %  same\nsweep 100 200 +100.00 %  MORE\nFAILED: 1 of 2"
    assert worse(said, "", 1) == ["sweep 100 200 +100.00 %  MORE"]
    assert worse("FAILED: the tutorial loop is faster.", "", 1) == ["FAILED: the tutorial loop is faster."]
    assert worse(said, "", 0) == []
    assert worse("", "no such revision", 2) == ["no such revision"]


@pytest.mark.parametrize(("statuses", "status"), [((0, 0), 0), ((0, 1), 1), ((2, 0), 2), ((2, 1), 1)])
def test_the_status_says_whether_anything_was_caught(
    statuses: tuple[int, int], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gate that could not look is told apart from one that has passed."""
    assert report([Look(gate.name, one, 1.0, []) for gate, one in zip(GATES[:2], statuses, strict=True)]) == status
    assert ("could not look" in capsys.readouterr().out) is (2 in statuses)


def test_every_gate_but_the_ratio_is_held_against_the_revision() -> None:
    """The ratio gate compares with what Fanwise replaces."""
    assert [gate.name for gate in GATES if REVISION not in gate.command] == ["ratio"]

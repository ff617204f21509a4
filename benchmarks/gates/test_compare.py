from __future__ import annotations

from pathlib import Path

import pytest

from .compare import THRESHOLD, ScenarioError, comparable, compare, judge, report, side
from .conftest import BY_NAME
from .faults import plant
from .trees import copy_tree


def test_only_a_whole_interval_above_the_threshold_fails() -> None:
    """What may be noise is none of the gate's business."""
    sure, unsure, same = judge({"sure": [1.2, 1.25, 1.3] * 3, "unsure": [0.9, 1.3, 1.4] * 3, "same": [1.0] * 9})
    assert (sure.failed, unsure.failed, same.failed) == (True, False, False)
    assert str(sure).split() == ["sure", "1.250", "[1.200,", "1.300]", "SLOWER"]
    assert unsure.ratio.median > THRESHOLD


def test_a_report_names_what_is_slower(capsys: pytest.CaptureFixture[str]) -> None:
    """And what the other revision cannot run."""
    assert report("main", judge({"a": [1.5] * 5, "b": [1.0] * 5}), {"c": "no module"}) == 1
    *_, missing, last = capsys.readouterr().out.splitlines()
    assert missing.split(maxsplit=1) == ["c", "not compared: main cannot run it (no module)"]
    assert last == "FAILED: slower than main by more than 10%, for sure: a."


def test_nothing_to_compare_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """A gate that looks at nothing must not pass."""
    assert report("v0", [], {"a": "no module"}) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAILED: nothing can be compared with v0."


def test_a_scenario_that_does_not_work_here_is_no_comparison(tmp_path: Path) -> None:
    """What is broken in this tree has to be mended, not left out, even if the old one is as broken."""
    root = copy_tree(tmp_path)
    path = root / "server" / "fanwise" / "core" / "log.py"
    path.write_text(path.read_text().replace("def append(", "def add("))
    with side(root) as broken, pytest.raises(ScenarioError, match="publish does not run in this tree: AttributeError"):
        comparable(broken, broken)


def test_a_fault_is_seen_though_the_old_revision_does_not_have_everything(tmp_path: Path) -> None:
    """What both have is compared: the ratios are those of CPU times of both. The rest is left out.

    One pair of processes is enough for a fault that takes so many times as long.
    """
    fault, old, new = BY_NAME["encoding per client"], copy_tree(tmp_path / "old"), copy_tree(tmp_path / "new")
    (old / "server" / "fanwise" / "routes" / "json_session.py").unlink()
    (old / "server" / "fanwise" / "__init__.py").write_text("")
    plant(fault, new)
    ratios, missing = compare(old, new, ["append", "json-publish", fault.seen_in], pairs=1)
    assert ratios.keys() == {"append", fault.seen_in}
    assert 0.3 < ratios["append"][0] < 3
    assert ratios[fault.seen_in][0] > 2
    assert "fanwise.routes.json_session" in missing["dialects"]

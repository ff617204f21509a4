from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .trees import ROOT, RevisionError, check_out, copy_tree, default_revision, environment, git


def test_a_copy_has_what_is_measured_and_what_measures(tmp_path: Path) -> None:
    """Nothing of the original is used afterwards."""
    root = copy_tree(tmp_path / "copy")
    assert (root / "server" / "fanwise" / "broadcaster" / "sweep.py").read_bytes() == (
        ROOT / "server" / "fanwise" / "broadcaster" / "sweep.py"
    ).read_bytes()
    assert (root / "benchmarks" / "gates" / "cpu_time.py").exists()
    assert not list(root.rglob("__pycache__"))


def in_a_repository() -> bool:
    command = ["git", "rev-parse", "--verify", "--quiet", "HEAD:server/fanwise"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not in_a_repository(), reason="what git would check out is not here")
def test_a_revision_is_measured_with_the_benchmarks_of_this_tree(tmp_path: Path) -> None:
    """Its server, our scenarios: the same yardstick for both."""
    root = check_out("HEAD", tmp_path / "old")
    command = ["git", "show", "HEAD:server/fanwise/core/log.py"]
    was = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    assert (root / "server" / "fanwise" / "core" / "log.py").read_bytes() == was
    assert (root / "benchmarks" / "ready_channel.py").read_bytes() == (
        ROOT / "benchmarks" / "ready_channel.py"
    ).read_bytes()


def test_a_revision_that_is_none_is_named(tmp_path: Path) -> None:
    """With what git says about it."""
    with pytest.raises(RevisionError, match=r"cannot check out 'no-such-revision': .+"):
        check_out("no-such-revision", tmp_path)


def test_the_environment_is_ours_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings of the caller's do not reach what is measured."""
    monkeypatch.setenv("FANWISE_QUEUE_MESSAGES", "7")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert environment(tmp_path, PYTHONHASHSEED="0").keys() == {"PATH", "LC_ALL", "PYTHONPATH", "PYTHONHASHSEED"}
    assert environment(tmp_path)["PYTHONPATH"] == f"{tmp_path}{os.pathsep}{tmp_path / 'server'}"


def test_a_revision_may_be_a_folder_with_another_tree(tmp_path: Path) -> None:
    """Its server, our benchmarks: what was planted in a copy is measured without a commit."""
    module = tmp_path / "planted" / "server" / "fanwise" / "here.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    root = check_out(str(tmp_path / "planted"), tmp_path / "old")
    assert [path.name for path in (root / "server" / "fanwise").iterdir()] == ["here.py"]
    assert (root / "benchmarks" / "wire.py").exists()


@pytest.mark.skipif(not in_a_repository(), reason="there is no repository")
def test_the_default_revision_is_where_the_branch_has_left_the_trunk() -> None:
    """On the trunk: the latest commit with another server, never this very tree."""
    assert git("diff", "--name-only", default_revision(), "--", "server")

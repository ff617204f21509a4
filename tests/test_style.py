"""The tree is clean under ruff and mypy: part of every run, so that one command tells all."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .support.processes import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]], ids=["lint", "format", "types"]
)
def test_the_tree_is_clean(command: list[str]) -> None:
    """As `tox -e lint` and `tox -e typing` see it."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

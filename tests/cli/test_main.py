from __future__ import annotations

import subprocess
import sys

from ..support.commands import fanwise
from ..support.processes import ROOT


def test_all_commands_are_listed() -> None:
    """Each with what it is for."""
    shown = fanwise("--help").stdout
    for command in ("serve", "config", "publish", "subscribe", "bench", "doctor", "top"):
        assert f"  {command} " in shown


def test_the_version() -> None:
    """`python -m fanwise` is `fanwise`."""
    done = subprocess.run(
        [sys.executable, "-m", "fanwise", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("fanwise, version 0.")

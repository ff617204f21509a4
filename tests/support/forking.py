"""`python -m tests.support.forking MODULE ARGUMENTS`: a program of ours whose servers are forks, as it is one."""

from __future__ import annotations

import runpy
import subprocess
import sys
from types import SimpleNamespace

from fanwise.tools import local_server

from . import forks


def main() -> None:
    """Runs the module as `python -m` does, but for what it starts with `local_server`."""
    forks.fork_here()
    forking = SimpleNamespace(**{**vars(subprocess), "Popen": forks.Popen})
    vars(local_server)["subprocess"] = forking
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

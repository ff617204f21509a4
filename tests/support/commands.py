"""Commands as a user runs them: any, to its end; `publish` and `subscribe` against a server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import processes
from .processes import ROOT, ServerProcess

Command = Callable[..., "subprocess.Popen[str]"]


def fanwise(*args: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs `fanwise ARGS` to its end, without settings but those of `environ`."""
    return processes.run("-m", "fanwise", *args, cwd=cwd, environ=environ)


def argv(server: ServerProcess, *args: str) -> list[str]:
    return [sys.executable, "-m", "fanwise", args[0], "--url", server.url("/ws"), *args[1:]]


def run(
    server: ServerProcess, *args: str, stdin: str | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    return processes.run(*argv(server, *args)[1:], stdin=stdin, environ=environ)


def told(process: subprocess.Popen[str], words: str) -> str:
    """The line on the standard error that has `words`; the test's own time limit ends a wait in vain."""
    assert process.stderr is not None
    return next(line for line in process.stderr if words in line)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def history(server: ServerProcess, channel: str, number: int) -> list[dict[str, Any]]:
    """The first messages of a channel, as a subscriber from the beginning gets them."""
    done = run(server, "subscribe", channel, "--since", "none:0", "--count", str(number), "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]

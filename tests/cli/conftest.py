from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from ..support.commands import Command, argv
from ..support.forks import Popen
from ..support.processes import ROOT, ServerProcess, clean_environ


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    process = ServerProcess("-m", "fanwise", "serve", "--port", "{port}")
    yield process
    process.close()


@pytest.fixture
def start(server: ServerProcess) -> Iterator[Command]:
    """Starts commands beside the test; none of them outlives it."""
    running: list[subprocess.Popen[str]] = []

    def begin(*args: str, **options: Any) -> subprocess.Popen[str]:
        process = Popen(
            argv(server, *args),
            cwd=ROOT,
            env=clean_environ(),
            text=True,
            bufsize=1,
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        with process:  # closes its pipes
            process.wait()

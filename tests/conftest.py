"""Fixtures: both event loops, and servers that are real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .processes import ServerProcess


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Async tests run on both event loops."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
def server_process() -> Iterator[Callable[..., ServerProcess]]:
    """Starts server processes that end with the test: `server_process(["-m", "server", "serve", ...])`."""
    running: list[ServerProcess] = []

    def start(*args: str, port: int | None = None, **environ: str) -> ServerProcess:
        running.append(ServerProcess(*args, port=port, **environ))
        return running[-1]

    yield start
    for process in running:
        process.close()

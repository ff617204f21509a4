"""Fixtures: servers that are real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .support.processes import ServerProcess

pytest_plugins = ["tests.support.plugin", "fanwise.testing"]

COMMAND = ("-m", "fanwise", "serve", "--port", "{port}")


@pytest.fixture
def server_process() -> Iterator[Callable[..., ServerProcess]]:
    """Starts server processes that end with the test: `server_process(["-m", "fanwise", "serve", ...])`."""
    running: list[ServerProcess] = []

    def start(*args: str, port: int | None = None, whole: bool = False, **environ: str) -> ServerProcess:
        running.append(ServerProcess(*args, port=port, whole=whole, before=None, **environ))
        return running[-1]

    yield start
    for process in running:
        process.close()


@pytest.fixture
def serve(server_process: Callable[..., ServerProcess]) -> Callable[..., ServerProcess]:
    """Starts a server that goes through something: `serve(port)`."""

    def start(port: int | None = None, **environ: str) -> ServerProcess:
        return server_process(*COMMAND, port=port, FANWISE_DRAIN_SECONDS="1", **environ)

    return start

"""The fixtures of pytest: a broadcaster and a server per test, and the calls of that server by their names.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from ..embedding import Broadcaster
from .clients import PausingClient, ReadingClient, SlowClient, StalledClient
from .isolation import Isolation
from .running import Application, serving
from .server import Server


def pytest_configure(config: pytest.Config) -> None:
    """Registers the mark of `broadcaster`."""
    config.addinivalue_line("markers", "broadcaster(**options): arguments of the fixture `broadcaster`")


@pytest.fixture
def broadcaster(request: pytest.FixtureRequest) -> Broadcaster:
    """A broadcaster of the test's own, with the arguments of `@pytest.mark.broadcaster(queue_messages=100)`."""
    options: dict[str, Any] = {}
    for mark in request.node.iter_markers("broadcaster"):  # the closest first
        options = {**mark.kwargs, **options}
    return Broadcaster(**options)


@pytest.fixture
def app(broadcaster: Broadcaster) -> Application:
    """The application that is served: the ready-made routes. Overridden in projects, which have one of their own."""
    application = FastAPI()
    application.include_router(broadcaster.router)
    return application


@pytest.fixture
def server_options() -> dict[str, Any]:
    """Arguments of `serving`, to be overridden: `{"loop": "asyncio"}`."""
    return {}


@pytest.fixture
def fanwise_server(app: Application, broadcaster: Broadcaster, server_options: dict[str, Any]) -> Iterator[Server]:
    """The fixture `app`, served on a free port of 127.0.0.1 until the end of the test."""
    with serving(app, broadcaster=broadcaster, **server_options) as server:
        yield server


@pytest.fixture
def reading_client(fanwise_server: Server) -> Callable[..., ReadingClient]:
    """Connects a client that reads at once: `reading_client("/ws")`."""
    return fanwise_server.reading_client


@pytest.fixture
def stalled_client(fanwise_server: Server) -> Callable[..., StalledClient]:
    """Connects a client that reads nothing: `stalled_client("/ws")`."""
    return fanwise_server.stalled_client


@pytest.fixture
def slow_client(fanwise_server: Server) -> Callable[..., SlowClient]:
    """Connects a client that reads so many bytes per second: `slow_client(rate=1000)`."""
    return fanwise_server.slow_client


@pytest.fixture
def pausing_client(fanwise_server: Server) -> Callable[..., PausingClient]:
    """Connects a client that reads nothing for a time, and all from then on: `pausing_client(seconds=2)`."""
    return fanwise_server.pausing_client


@pytest.fixture
def vanishing_client(fanwise_server: Server) -> Callable[..., ReadingClient]:
    """Connects a client that is gone at once, without a closing handshake."""
    return fanwise_server.vanishing_client


@pytest.fixture
def burst_publisher(fanwise_server: Server) -> Callable[..., list[str]]:
    """Publishes as fast as the broadcaster lets it: `burst_publisher(1000, size=100, channel="lobby")`."""
    return fanwise_server.burst_publisher


@pytest.fixture
def assert_isolated(fanwise_server: Server) -> Callable[..., Isolation]:
    """Asserts that clients that read get publications in time: `assert_isolated(p99_ms=100)`."""
    return fanwise_server.assert_isolated


@pytest.fixture
def assert_dropped(fanwise_server: Server) -> Callable[..., None]:
    """Asserts that misbehaving clients are dropped: `assert_dropped(within_seconds=5, cause="slow")`."""
    return fanwise_server.assert_dropped

"""A pytest plugin for applications on Fanwise: real sockets, clients that misbehave, and what is asserted of them.

    running    an application under uvicorn, in a thread of its own
    server     that server, with the clients of a test and what is asserted of them
    clients    WebSocket clients on sockets: they read, read slowly, pause, stall or vanish
    dropped    what became of a client, for `assert_dropped`
    isolation  how long publications take to clients that read, for `assert_isolated`
    watch      how late an event loop is, and where it is held
    fixtures   the fixtures of pytest

`pytest_plugins = ["fanwise.testing"]` in a conftest.py makes the fixtures known. All calls are synchronous: server and
clients have threads of their own, so that tests may be plain functions, or coroutines of pytest-asyncio or anyio.

PYTEST_DONT_REWRITE: there is no assert here, and a conftest.py may import this before pytest does.
"""

from __future__ import annotations

from .clients import HandshakeError, PausingClient, ReadingClient, SlowClient, StalledClient, TestingClient
from .fixtures import (
    app,
    assert_dropped,
    assert_isolated,
    broadcaster,
    burst_publisher,
    fanwise_server,
    pausing_client,
    pytest_configure,
    reading_client,
    server_options,
    slow_client,
    stalled_client,
    vanishing_client,
)
from .isolation import Isolation
from .running import StartError, serving
from .server import Server

__all__ = [
    "HandshakeError",
    "Isolation",
    "PausingClient",
    "ReadingClient",
    "Server",
    "SlowClient",
    "StalledClient",
    "StartError",
    "TestingClient",
    "app",
    "assert_dropped",
    "assert_isolated",
    "broadcaster",
    "burst_publisher",
    "fanwise_server",
    "pausing_client",
    "pytest_configure",
    "reading_client",
    "server_options",
    "serving",
    "slow_client",
    "stalled_client",
    "vanishing_client",
]

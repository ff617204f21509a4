"""`serving`: an application under uvicorn in a thread, on either loop, with the protocol classes or without."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI

from fanwise import Broadcaster
from fanwise.backplane.memory import MemoryEngine
from fanwise.testing import Server, StartError, serving


@pytest.mark.parametrize(
    ("options", "path", "loop"),
    [
        ({"loop": "asyncio"}, "direct", "asyncio"),
        ({"loop": "uvloop"}, "direct", "uvloop"),
        ({"loop": "asyncio", "plain_asgi": True}, "asgi", "asyncio"),
    ],
    ids=["asyncio", "uvloop", "plain ASGI"],
)
def test_a_server_is_real(
    options: dict[str, Any], path: str, loop: str, app: FastAPI, broadcaster: Broadcaster
) -> None:
    """On the loop that was asked for, in a thread of its own; it is gone at the end of the context."""
    threads = threading.active_count()
    with serving(app, broadcaster=broadcaster, **options) as server:
        client = server.reading_client()
        client.send("hello")
        assert client.receive() == "Message: hello"
        (seen,) = server.call(broadcaster.statistics).clients
        assert (seen.path, seen.address) == (path, client.address)
        assert type(server.call(asyncio.get_running_loop)).__module__.partition(".")[0] == loop
        publication = server.run(broadcaster.publish("lobby", "from the test"))
        assert (publication.position.offset, client.receive()) == (2, "from the test")
    with pytest.raises(OSError, match="refused"):
        server.reading_client()
    assert client.ended
    assert threading.active_count() == threads


async def no_database() -> None:
    raise ZeroDivisionError("no database")


def test_a_lifespan_that_fails_is_an_error() -> None:
    """With the application's own traceback."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await no_database()
        yield

    with (
        pytest.raises(StartError, match=r"did not start: Traceback(.|\n)*no database"),
        serving(FastAPI(lifespan=lifespan)),
    ):
        pass


@pytest.mark.broadcaster(backplane=MemoryEngine().backplane())
def test_a_shared_broadcaster_is_served(fanwise_server: Server) -> None:
    """Behind an engine: bursts, isolation and causes work as without one."""
    reading, stalled = fanwise_server.reading_client(), fanwise_server.stalled_client()
    fanwise_server.assert_isolated(p99_ms=5000, publications=20, size=1000, channel="lobby")
    texts = fanwise_server.burst_publisher(20)
    assert reading.wait_for(40)[20:] == texts
    with pytest.raises(AssertionError, match=r"was not dropped within 0.01 s: on lobby it "):
        fanwise_server.assert_dropped(stalled, within_seconds=0.01)

"""Processes of other launchers, with a backplane and without: `tox -e launchers`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest
from websockets.asyncio.client import ClientConnection, connect

from fanwise.backplane.workers.siblings import LOOK_SECONDS

from ..support.engines import RedisServer, redis_server
from ..support.processes import ServerProcess

pytestmark = pytest.mark.anyio
CLIENTS = 12  # all on one of two workers in one run of 2,000
SAYS = "this is one of 2 worker processes"
ADDRESS = ("127.0.0.1:{port}", "fanwise.app:app")
GUNICORN = ("-m", "gunicorn", "--worker-class", "tests.support.gunicorn_worker.Worker", "--bind", *ADDRESS)
GRANIAN = ("-m", "granian", "--interface", "asgi", "--port", "{port}", "fanwise.app:app")
HYPERCORN = ("-m", "hypercorn", "--bind", "127.0.0.1:{port}", "fanwise.app:create_app()")
LAUNCHERS = {
    "uvicorn": ("-m", "uvicorn", "--port", "{port}", "fanwise.app:app", "--workers", "{workers}"),
    "gunicorn": (*GUNICORN, "--workers", "{workers}"),
    "gunicorn that loads first": (*GUNICORN, "--preload", "--workers", "{workers}"),
    "granian": (*GRANIAN, "--workers", "{workers}"),
    "hypercorn": (*HYPERCORN, "--workers", "{workers}"),
}


@pytest.fixture(scope="module")
def engine() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def launched(start: Callable[..., ServerProcess], name: str, workers: int, **environ: str) -> ServerProcess:
    args = [word.replace("{workers}", str(workers)) for word in LAUNCHERS[name]]
    return start(*args, whole=True, **environ)


async def heard_by_all(server: ServerProcess) -> bool:
    """Whether what one client says comes to all."""
    clients: list[ClientConnection] = [await connect(server.url("/ws"), proxy=None) for _ in range(CLIENTS)]
    try:
        await clients[0].send("hello")
        async with asyncio.timeout(5):
            await asyncio.gather(*(client.recv() for client in clients))
    except TimeoutError:
        return False
    finally:
        for client in clients:
            await client.close()
    return True


@pytest.mark.parametrize("name", LAUNCHERS)
async def test_workers_without_a_backplane_are_noticed(server_process: Callable[..., ServerProcess], name: str) -> None:
    """As an error: each reaches its own clients only."""
    server = launched(server_process, name, 2)
    await asyncio.to_thread(server.wait_for_log, SAYS)


@pytest.mark.parametrize("name", LAUNCHERS)
async def test_workers_with_a_backplane_are_one_server(
    server_process: Callable[..., ServerProcess], engine: RedisServer, name: str
) -> None:
    """Whose clients hear each other."""
    prefix = name.replace(" ", "-")
    server = launched(server_process, name, 2, FANWISE_BACKPLANE=engine.url, FANWISE_BACKPLANE_PREFIX=prefix)
    assert await heard_by_all(server)
    assert SAYS not in server.log


@pytest.mark.parametrize("name", LAUNCHERS)
async def test_one_worker_is_alone(server_process: Callable[..., ServerProcess], name: str) -> None:
    """Also where its launcher listens beside it."""
    server = launched(server_process, name, 1)
    assert await heard_by_all(server)
    while await uptime(server) < LOOK_SECONDS + 1:
        assert SAYS not in server.log
    assert SAYS not in server.log


async def uptime(server: ServerProcess) -> float:
    answer = await asyncio.to_thread(server.get, "/stats")
    return float(json.loads(answer.partition(b"\r\n\r\n")[2])["uptime_seconds"])

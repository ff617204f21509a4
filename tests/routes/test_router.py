from __future__ import annotations

import pytest
from fastapi import FastAPI

from fanwise.broadcaster.node import Node
from fanwise.routes import build_router

from ..support.live import app_of, running

pytestmark = pytest.mark.anyio


def make_app(broadcaster: Node) -> FastAPI:
    return app_of(build_router(broadcaster, demo_clients=5))


async def test_a_late_loop_is_not_ready() -> None:
    """The probe that sends traffic elsewhere says no for some seconds; the one that restarts processes says yes."""
    broadcaster = Node(ready_lag_seconds=0.5)
    async with running(make_app(broadcaster)) as live:
        assert (await live.request("GET", "/readyz")).status == 200
        broadcaster._loop_lag._due -= 1
        answer = await live.request("GET", "/readyz")
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert (await live.request("GET", "/healthz")).status == 200
        assert broadcaster.inspect.outline().loop_lag_seconds > 0.5

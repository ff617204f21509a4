"""Honest traffic meets no limit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ...support.processes import ServerProcess
from .honest import SHAPES
from .scene import SERVE

LOOPS = ("uvloop", "asyncio")
UNPUNISHED = {"normal", "lost"}  # what clients do themselves


async def serve_all(*ports: int) -> list[Any]:
    """Runs all shapes at once; returns what each has raised, by port and shape."""
    work = (asyncio.wait_for(shape(port), 60) for port in ports for shape in SHAPES.values())
    return await asyncio.gather(*work, return_exceptions=True)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, tuple[ServerProcess, dict[str, Any]]]]:
    """A server on each loop, with default settings: {loop: (server, {shape: what it has raised})}."""
    with ExitStack() as stack:
        started = [ServerProcess(*SERVE, loop, FANWISE_DRAIN_SECONDS="1") for loop in LOOPS]
        for server in started:
            stack.callback(server.close)
        raised = iter(asyncio.run(serve_all(*(server.port for server in started))))
        yield {
            loop: (server, {shape: next(raised) for shape in SHAPES})
            for loop, server in zip(LOOPS, started, strict=True)
        }


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_served(servers: dict[str, tuple[ServerProcess, dict[str, Any]]], shape: str, loop: str) -> None:
    """All of it, while the others are served too."""
    assert servers[loop][1][shape] is None


@pytest.mark.parametrize("loop", LOOPS)
def test_nobody_is_refused_or_closed(servers: dict[str, tuple[ServerProcess, dict[str, Any]]], loop: str) -> None:
    """The server has counted no refusal, no gap and no drop."""
    server, _ = servers[loop]
    counted = json.loads(server.get("/stats").partition(b"\r\n\r\n")[2])
    assert len(SHAPES) >= 20
    assert {code: count for code, count in counted["rejected"].items() if count} == {}
    assert {reason: count for reason, count in counted["closed"].items() if count and reason not in UNPUNISHED} == {}
    assert not any(counted["gaps"].values())
    assert "Traceback" not in server.log
    assert "Invalid HTTP request" not in server.log

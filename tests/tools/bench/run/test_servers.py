from __future__ import annotations

from itertools import pairwise

import pytest
from fastapi import FastAPI
from uvicorn.importer import import_from_string

from fanwise.tools.bench.run.servers import BASELINES, FANWISE
from fanwise.tools.local_server import HOST, PORT


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_an_application(name: str) -> None:
    """The last argument is one that uvicorn can import."""
    assert isinstance(import_from_string(BASELINES[name][-1]), FastAPI)


def test_fanwise_is_measured_without_its_limits() -> None:
    """Of what one connection may send, and of the hosts that requests may name."""
    assert "--no-rate-limits" in FANWISE
    assert FANWISE[FANWISE.index("--allowed-hosts") + 1] == HOST


@pytest.mark.parametrize("arguments", [FANWISE, *BASELINES.values()])
def test_nobody_else_reaches_them(arguments: tuple[str, ...]) -> None:
    """Each listens on loopback, on the port that is chosen for it."""
    given = dict(pairwise(arguments))
    assert (given["--host"], given["--port"]) == (HOST, PORT)

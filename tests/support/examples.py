"""The applications in `examples/`, loaded as modules of their own, as they are or with a planted fault."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fastapi.routing import APIRoute, APIWebSocketRoute

from fanwise.testing import HandshakeError, Server, serving

from .answers import ask, streaming
from .processes import ROOT

JSON = "fanwise.v1"


class Example(NamedTuple):
    """A running example: its server and its module."""

    server: Server
    module: Any


@contextmanager
def example(name: str, *change: str, folder: Path | None = None) -> Iterator[Example]:
    """Serves an example. `change` is what stands in its source and what takes its place, in a copy in `folder`."""
    path = ROOT / "examples" / f"{name}.py"
    if change:
        source = path.read_text()
        assert change[0] in source, f"{path} has no {change[0]!r} to be replaced"
        assert folder is not None
        path = folder / f"{name}.py"
        path.write_text(source.replace(change[0], change[1]))
    unique = f"example_{name}"
    spec = importlib.util.spec_from_file_location(unique, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[unique] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        with serving(module.app, broadcaster=module.broadcaster) as server:
            yield Example(server, module)
    finally:
        del sys.modules[unique]


def doors(module: Any) -> Iterator[tuple[str, str]]:
    """The routes of an example's own, as (method, path): "WS" and "SSE" are methods too."""
    for route in module.app.routes:
        if isinstance(route, APIWebSocketRoute):
            yield "WS", route.path
        elif isinstance(route, APIRoute):
            for method in route.methods or ():
                yield ("SSE" if route.path.endswith("/events") else method), route.path


def open_doors(running: Example, *, headers: Mapping[str, str], body: object = None, **names: str) -> set[str]:
    """The kinds of routes that do not refuse a request with `headers`; `names` fill the paths."""
    return {
        method
        for method, path in doors(running.module)
        if status_of(running.server, method, path.format(**names), headers, body) not in (401, 403)
    }


def status_of(server: Server, method: str, path: str, headers: Mapping[str, str], body: object) -> int:
    """The status of HTTP that a request, a handshake or an event stream is answered with."""
    if method == "WS":
        try:
            server.reading_client(path, headers=headers, subprotocol=JSON).close()
        except HandshakeError as error:
            return error.status
        return 101
    if method == "SSE":
        with streaming(server, path, headers=headers) as events:
            return events.status
    return ask(server, method, path, headers=headers, body=body).status

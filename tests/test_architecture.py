from __future__ import annotations

import ast
from pathlib import Path

import pytest

from .processes import ROOT

SERVER = ROOT / "server"

# From the top. A module may import from layers below its own, never from its own or from above.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"commands"},
    {"serve"},
    {"app"},
    {"settings"},  # stands here so that only app, serve and cli can read it
    {"__init__"},
    {"embedding"},
    {"routes"},
    {"asyncapi", "sse", "inspection"},
    {"publishing"},
    {"conversation", "websocket", "assets"},
    {"api"},
    {"access", "idempotency", "messages"},
    {"protocol", "streaming", "asgi", "workers"},
    {"connection", "framing"},
    {"broadcaster"},
    {"statistics"},
    {"drain", "publisher", "roster", "subscribing"},
    {"rota", "sweep"},
    {"writer"},
    {"outlet"},
    {"inbox", "sink", "sockets", "pipes"},
    # The Python client: it needs nothing of the server's side.
    {"client"},
    {"uplink", "downlink"},
    {"link"},
    {"tracking"},
    {"wire", "backoff"},
    # No asyncio, no I/O, no logging below.
    {"hub"},
    {"channel", "dialect"},
    {"group"},
    {"queue"},
    {"log", "encoding"},
    {"publication", "reasons"},
    {"errors"},
]
LEVEL = {module: level for level, modules in enumerate(reversed(LAYERS)) for module in modules}
CORE = {module for modules in LAYERS[LAYERS.index({"hub"}) :] for module in modules}
NOT_IN_THE_CORE = {"asyncio", "anyio", "socket", "os", "select", "logging", "threading", "time", "uvicorn", "fastapi"}
MODULES = sorted(path.stem for path in SERVER.glob("*.py"))
UNTESTED = {"__init__", "__main__"}  # the map; two lines that test_cli runs


def imports(module: str) -> list[tuple[int, str]]:
    """(level of the import, first part of its name): level 1 is relative, 0 absolute."""
    found = []
    for node in ast.walk(ast.parse((SERVER / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            found += [(0, alias.name.partition(".")[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, (node.module or "").partition(".")[0]))
    return found


def upward(module: str, imported: list[tuple[int, str]]) -> list[str]:
    return [name for level, name in imported if level and LEVEL[name] >= LEVEL[module]]


def test_every_module_has_its_layer() -> None:
    """The list above is the map: nothing is missing, nothing is left over."""
    assert set(MODULES) == set(LEVEL)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    """A module imports from below, relatively."""
    assert upward(module, imports(module)) == []
    assert (0, "server") not in imports(module)


@pytest.mark.parametrize("module", sorted(CORE))
def test_the_core_is_synchronous(module: str) -> None:
    """No asyncio, no I/O, no logging in the core."""
    assert {name for level, name in imports(module) if not level} & NOT_IN_THE_CORE == set()


@pytest.mark.parametrize("module", sorted(set(MODULES) - UNTESTED))
def test_every_module_has_its_tests(module: str) -> None:
    """`tests/` mirrors `server/`."""
    assert (ROOT / "tests" / f"test_{module}.py").exists()


def test_an_arrow_that_points_up_is_found() -> None:
    """The check itself can fail."""
    assert upward("log", [(1, "queue"), (1, "publication"), (0, "bisect")]) == ["queue"]


@pytest.mark.parametrize("path", sorted(SERVER.glob("*.py")), ids=lambda path: path.stem)
def test_files_stay_small(path: Path) -> None:
    """A file that outgrows 250 lines is two files."""
    assert len(path.read_text().splitlines()) <= 250

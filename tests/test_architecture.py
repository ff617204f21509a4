"""The rooms of `server/fanwise/`: which may import from which, and how large they are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from .support.processes import ROOT

PACKAGE = ROOT / "server" / "fanwise"

# From the left. A room imports only from rooms to its right, never from its own level.
ROOMS = (
    "__main__ > cli > tuning > serve > app > testing > __init__ > settings embedding > routes > protocol > transport "
    "> broadcaster "
    "> backplane client > core tools > logs errors version"
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS.split(" > ")) for room in rooms.split()}
ONLY_ERRORS = {"core", "tools"}
OF_TUNING = {"broadcaster", "core", "tools", "errors", "tuning"}
NOT_IN_THE_CORE = {"asyncio", "anyio", "socket", "os", "select", "logging", "threading", "time", "uvicorn", "fastapi"}
FILE_LINES, FUNCTION_LINES = 400, 40
# Maps; and files of a few lines, which the tests of others run.
UNTESTED = {"__init__", "__main__", "protocol", "version"}


def dotted(path: Path) -> str:
    """The module at `path`: "core.log" for fanwise/core/log.py, "core.__init__" for the room's map."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


FILES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}  # {module: its file}
MODULES = sorted(FILES)


@cache
def nodes(module: str) -> list[ast.AST]:
    """All of a module's syntax; its first node is the module."""
    return list(ast.walk(ast.parse(FILES[module].read_text())))


def room(module: str) -> str:
    return module.partition(".")[0]


def imports(module: str) -> Iterator[str]:
    """The modules of ours that `module` imports, relatively."""
    for node in nodes(module):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = FILES[module].parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for alias in node.names:
                places = (base / alias.name, base / alias.name / "__init__", base, base / "__init__")
                yield next(name for name in map(dotted, places) if name in FILES)


def foreign(module: str) -> set[str]:
    """The packages that `module` imports absolutely."""
    found = set()
    for node in nodes(module):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


def leftward(module: str, imported: Iterator[str]) -> set[str]:
    return {
        other
        for other in imported
        if room(other) != room(module)
        and (LEVEL[room(other)] <= LEVEL[room(module)] or (room(module) in ONLY_ERRORS and room(other) != "errors"))
    }


def test_a_room_imports_from_rooms_to_its_right() -> None:
    """Relatively. `core` and `tools` import only `errors`."""
    found = {module: leftward(module, imports(module)) for module in MODULES}
    assert {module: others for module, others in found.items() if others} == {}
    assert [module for module in MODULES if "fanwise" in foreign(module)] == []


def test_a_replay_is_of_the_hub_alone() -> None:
    """`tuning` knows neither routes nor transports nor settings, and only `cli` knows `tuning`."""
    ours = {module: {room(other) for other in imports(module)} for module in MODULES}
    assert set().union(*(others for module, others in ours.items() if room(module) == "tuning")) <= OF_TUNING
    assert {room(module) for module, others in ours.items() if "tuning" in others} <= {"cli", "tuning"}


def test_there_are_no_circles() -> None:
    """Neither inside a room nor between rooms."""
    TopologicalSorter({module: set(imports(module)) for module in MODULES}).prepare()


def test_what_is_wrong_is_found() -> None:
    """The checks themselves can fail."""
    assert leftward("core.log", iter(["core.queue", "errors", "logs.events", "client.codec"])) == {
        "logs.events",
        "client.codec",
    }
    assert leftward("client.link", iter(["backplane.port", "core.log"])) == {"backplane.port"}
    with pytest.raises(CycleError):
        TopologicalSorter({"core.log": {"core.queue"}, "core.queue": {"core.log"}}).prepare()


def test_the_first_level_is_small() -> None:
    """At most nine files and eleven folders. `testing` is among them for its name, which is what users import."""
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    assert len(list(PACKAGE.glob("*.py"))) <= 9
    assert len(folders) <= 11
    assert {room(module) for module in MODULES} <= set(LEVEL)


def missing_from_map(module: str) -> set[str]:
    words = set((ast.get_docstring(ast.parse(FILES[module].read_text())) or "").replace(",", " ").split())
    beside = {path.stem for path in FILES[module].parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    return {name for name in beside if not name.startswith("__")} - {word.strip(".:") for word in words}


def test_a_room_has_a_map() -> None:
    """Its docstring names each of its files and folders."""
    found = {module: missing_from_map(module) for module in MODULES if module.endswith(".__init__")}
    assert {module: names for module, names in found.items() if names} == {}


def test_the_core_is_synchronous() -> None:
    """No asyncio, no I/O, no logging, no clock."""
    found = {module: foreign(module) & NOT_IN_THE_CORE for module in MODULES if room(module) == "core"}
    assert {module: packages for module, packages in found.items() if packages} == {}


def is_tested(module: str) -> bool:
    *package, name = module.split(".")
    places = (ROOT.joinpath("tests", *package, f"test_{name}.py"), ROOT / "tests" / "system" / f"test_{name}.py")
    return name in UNTESTED or any(place.exists() for place in places)


def test_every_module_has_its_tests() -> None:
    """`tests/` mirrors the rooms; what takes a whole process to test is in `tests/system/`."""
    assert [module for module in MODULES if not is_tested(module)] == []


def test_files_are_of_a_size_to_read() -> None:
    """A class is cut where an invariant ends, not where a line count does."""
    lines = {module: len(path.read_text().splitlines()) for module, path in FILES.items()}
    assert {module: count for module, count in lines.items() if count > FILE_LINES} == {}


def test_functions_are_of_a_size_to_read() -> None:
    """Most have under ten lines."""
    found = {
        f"{module}:{node.name}"
        for module in MODULES
        for node in nodes(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES
    }
    assert found == set()


def test_only_a_lease_knows_a_descriptor() -> None:
    """Its number is read where leases are made and where ready groups hold it; `outbox` asks whether there is one.

    The acceptor looks how high a number is that it was given. The probe of sweeps has sockets of its own.
    """
    know = {
        "transport.leased_transport",
        "transport.sweep_writer",
        "core.lease",
        "core.group",
        "broadcaster.sweep",
        "broadcaster.outbox",
    }
    found = {
        module
        for module in MODULES
        if room(module) in {"core", "broadcaster", "transport", "routes", "protocol", "embedding", "app", "serve"}
        for node in nodes(module)
        if isinstance(node, ast.Attribute) and node.attr in {"fileno", "descriptor", "by_fd"}
    }
    assert found == know

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
    {"commands", "doctor.command", "top.command"},
    # Two ways to look at a running server: they know what it shows to strangers. `doctor.command` reads settings too.
    {"doctor.examination"},
    {"doctor.backpressure", "doctor.host", "doctor.keepalive", "doctor.memory", "doctor.posture", "doctor.wire"},
    {"doctor.limits", "doctor.machine", "doctor.probe", "doctor.report", "top.plain", "top.screen"},
    {"doctor.__init__", "doctor.findings", "top.__init__", "top.picture"},
    {"flags"},
    # The load generator: a layer beside `serve` with layers of its own. It knows the wire and nothing of the server.
    {"bench.command"},
    {"bench.session"},
    {"bench.conductor", "bench.display", "bench.options", "bench.record"},
    {"bench.page", "bench.text", "bench.worker"},
    {"bench.capacity", "bench.charts", "bench.crowd", "bench.versus"},
    {"bench.connection", "bench.score"},
    {"bench.engine", "bench.publisher", "bench.report", "bench.verdict"},
    {"bench.board", "bench.receiver"},
    {"bench.dialects", "bench.hosts", "bench.meter", "bench.plan", "bench.rivals", "bench.stream"},
    {"bench.__init__", "bench.errors", "bench.payload"},
    {"serve"},
    {"app"},
    {"settings"},  # stands here so that only app, serve and commands can read it
    {"__init__"},
    {"embedding"},
    {"routes"},
    {"live"},
    {"report"},
    {"asyncapi", "sse", "inspection", "metrics", "page", "demo.routes"},
    {"publishing"},
    # The demo: a small load generator inside the server. Of the big one it takes the wire and the histogram.
    {"demo.stage"},
    {"demo.show"},
    {"demo.crowd", "demo.publisher", "demo.tutorial"},
    {"demo.client"},
    {"demo.connection"},
    {"demo.place", "demo.plan", "demo.stream", "demo.window"},
    {"demo.__init__", "bench.histogram", "bench.wire"},
    {"conversation", "websocket", "assets"},
    {"api"},
    {"access", "idempotency", "messages"},
    {"protocol", "streaming", "asgi", "workers"},
    {"connection", "framing"},
    {"broadcaster"},
    {"statistics", "audit"},
    {"ranking", "notices"},
    {"drain", "publisher", "roster", "subscribing"},
    {"rota", "sweep", "looplag"},
    {"writer"},
    {"outlet"},
    {"leased_transport"},
    {"inbox", "request_cutter", "sink", "sockets", "pipes", "state", "vitals"},
    {"logs"},
    {"limiter"},
    {"events", "scrubbing"},
    # The Python client: it needs nothing of the server's side.
    {"client"},
    {"uplink", "downlink"},
    {"link"},
    {"tracking"},
    {"wire", "backoff"},
    {"remote", "rates", "figures"},
    {"deadline"},
    # No asyncio, no I/O, no logging below.
    {"hub"},
    {"channel", "dialect"},
    {"group", "tally"},
    {"queue"},
    {"log", "encoding"},
    {"lease"},
    {"publication", "reasons"},
    {"client_errors"},
    {"errors"},
]
LEVEL = {module: level for level, modules in enumerate(reversed(LAYERS)) for module in modules}
CORE = {module for modules in LAYERS[LAYERS.index({"hub"}) :] for module in modules}
NOT_IN_THE_CORE = {"asyncio", "anyio", "socket", "os", "select", "logging", "threading", "time", "uvicorn", "fastapi"}
# The maps; two lines that test_cli runs.
UNTESTED = {"__init__", "__main__", "bench.__init__", "demo.__init__", "doctor.__init__", "top.__init__"}


def dotted(path: Path) -> str:
    """As in LAYERS: "log" for server/log.py, "bench.plan" for server/bench/plan.py."""
    return ".".join(path.relative_to(SERVER).with_suffix("").parts)


FILES = {dotted(path): path for path in sorted(SERVER.rglob("*.py"))}  # {module: its file}
MODULES = sorted(FILES)


def imports(module: str) -> list[tuple[int, str]]:
    """(level of the import, name): of a relative one the module as in LAYERS, of an absolute one its first part."""
    found = []
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            found += [(0, alias.name.partition(".")[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            package = module.split(".")[: -node.level]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(node.level, ".".join([*package, name])) for name in names]
        elif isinstance(node, ast.ImportFrom):
            found.append((0, (node.module or "").partition(".")[0]))
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
    *package, name = module.split(".")
    assert ROOT.joinpath("tests", *package, f"test_{name}.py").exists()


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("bench.")])
def test_the_load_generator_knows_only_the_wire(module: str) -> None:
    """Of the server's own modules it shares the root of the exceptions, and starts the rest as a process."""
    assert {name for level, name in imports(module) if level and not name.startswith("bench.")} <= {"errors"}


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith(("doctor.", "top."))])
def test_who_looks_at_a_server_knows_what_it_shows_to_strangers(module: str) -> None:
    """Beside what is for people and for the wire; only the doctor's command line knows what a server is made of."""
    outside = {name for level, name in imports(module) if level and not name.startswith(("doctor.", "top."))}
    assert outside <= {"deadline", "errors", "figures", "rates", "remote"} or module == "doctor.command"


def test_an_arrow_that_points_up_is_found() -> None:
    """The check itself can fail."""
    assert upward("log", [(1, "queue"), (1, "publication"), (0, "bisect")]) == ["queue"]


@pytest.mark.parametrize("module", MODULES)
def test_files_stay_small(module: str) -> None:
    """A file that outgrows 400 lines is two files."""
    assert len(FILES[module].read_text().splitlines()) <= 400

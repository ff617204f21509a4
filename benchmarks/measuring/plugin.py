"""pytest's hooks: the way of measuring, what a saved run names, and that it is not compared with another kind of run.

Times of a machine that does something else differ by more than what is looked for. Runs that are saved or compared
therefore count instructions, or, without valgrind, take the CPU time beside a fixed load's. Runs that are only looked
at show times as they are.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from importlib.metadata import version
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.gates.instructions import machine, valgrind_version

from . import callgrind, cpu_ratio
from .fixture import CALLS, WARM, SteadyFixture

WAYS = ("instructions", "cpu", "time")
LIBRARIES = ("anyio", "orjson", "pydantic-core", "uvicorn", "uvloop", "websockets")
FACTS = "fanwise"  # the key of `machine_info` under which a saved run names what its figures depend on
LONGEST_SECONDS = 1800  # of a benchmark, in place of a test's: a machine that does much else may be that slow


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    parser.getgroup("benchmark").addoption(
        "--benchmark-by",
        choices=WAYS,
        help="count instructions (valgrind), measure CPU time beside a fixed load, or measure time as it is. "
        "By default instructions, or cpu without valgrind, where runs are saved or compared, and else time.",
    )


def way_of(config: pytest.Config) -> str:
    """Returns the way of this run, one of WAYS."""
    asked: str | None = config.getoption("benchmark_by")
    if asked is not None or not kept(config):
        return asked or "time"
    return "cpu" if callgrind.missing() else "instructions"


def kept(config: pytest.Config) -> bool:
    """Returns whether this run is saved or compared."""
    return any(config.getoption(f"benchmark_{one}") for one in ("autosave", "save", "compare", "compare_fail"))


def enabled(config: pytest.Config) -> bool:
    """Returns whether anything is measured in this run. A run that is saved or compared is."""
    asked = config.getoption("benchmark_enable") or config.getoption("benchmark_by") or kept(config)
    return bool(asked) or not config.getoption("benchmark_disable")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Measures in one process; counts in one that runs under valgrind."""
    if not enabled(config) or config.getoption("collectonly"):
        return None
    config.option.numprocesses, config.option.dist, config.option.tx = 0, "no", []
    config.option.timeout = LONGEST_SECONDS
    config.option.benchmark_enable = True
    if way_of(config) != "instructions" or callgrind.FOLDER in os.environ:
        return None
    problem = callgrind.missing()
    if problem:
        raise pytest.UsageError(f"--benchmark-by=instructions: {problem}")
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
    with tempfile.TemporaryDirectory() as folder:
        return callgrind.run([*map(str, config.invocation_params.args)], folder)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuses to pass where there is nothing to compare with. Raises UsageError."""
    if session.config.getoption("benchmark_compare_fail") and not compared(session.config):
        raise pytest.UsageError("no saved run can be compared with: --benchmark-autosave saves one")


def compared(config: pytest.Config) -> list[dict[str, Any]]:
    """Returns the benchmarks by name of each saved run that this one is compared with."""
    return list(vars(config)["_benchmarksession"].compared_mapping.values())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is no benchmark where benchmarks are counted or compared."""
    if not enabled(config) or way_of(config) == "time":
        return
    others = [item for item in items if "benchmark" not in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in others]
    config.hook.pytest_deselected(items=others)


@pytest.fixture
def benchmark(benchmark: BenchmarkFixture, request: pytest.FixtureRequest, counter: Any) -> BenchmarkFixture:
    """pytest-benchmark's own, which measures in the way of this run."""
    if way_of(request.config) != "time" and not benchmark.disabled:
        vars(benchmark).update(counter=counter, saved=saved_plan(request.config, request.node.nodeid))
        benchmark.__class__ = SteadyFixture
    return benchmark


def saved_plan(config: pytest.Config, name: str) -> dict[str, int]:
    """Returns how often the saved run has called the benchmark; empty if it has not counted it."""
    for benchmarks in compared(config):
        if name in benchmarks:
            return {key: value for key, value in benchmarks[name]["extra_info"].items() if key in (WARM, CALLS)}
    return {}


@pytest.fixture(scope="session")
def counter(request: pytest.FixtureRequest) -> callgrind.Counter | None:
    """What counts instructions; None where nothing does."""
    if enabled(request.config) and way_of(request.config) == "instructions":
        return callgrind.Counter()
    return None


def facts(way: str) -> dict[str, str]:
    """Returns what figures depend on: the way, the build of the interpreter, libraries, and the machine."""
    libc = " ".join(platform.libc_ver())
    known = {"measured by": way, "python": sys.version, "machine": machine(), "libc": libc}
    known |= {library: version(library) for library in LIBRARIES}
    if way == "instructions" and not callgrind.missing():
        known["valgrind"] = valgrind_version()
    if way == "cpu":
        known["load"] = f"{cpu_ratio.LOAD}, {cpu_ratio.NOMINAL_SECONDS} s"
    if way != "instructions":
        known["host"] = platform.node()
    return known


def processor(info: dict[str, Any]) -> str:
    """Returns the name of the processor in a `machine_info`."""
    return str(info["cpu"].get("brand_raw") or info["processor"])


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Names in saved runs what their figures depend on, and leaves out what differs from run to run."""
    way = way_of(config)
    machine_info[FACTS] = facts(way) | ({} if way == "instructions" else {"processor": processor(machine_info)})
    machine_info["cpu"] = {
        key: machine_info["cpu"][key] for key in ("brand_raw", "count") if key in machine_info["cpu"]
    }


def pytest_benchmark_compare_machine_info(machine_info: dict[str, Any], compared_benchmark: dict[str, Any]) -> None:
    """Refuses to compare runs of two kinds. Raises UsageError, which names what is different."""
    here, saved = machine_info[FACTS], compared_benchmark["machine_info"].get(FACTS)
    if saved is None:
        raise pytest.UsageError("the saved run does not say how it was measured: save a new one")
    others = [
        f"{fact} {saved.get(fact)!r}, here {here.get(fact)!r}"
        for fact in {**saved, **here}
        if here.get(fact) != saved.get(fact)
    ]
    if others:
        raise pytest.UsageError(
            f"the saved run cannot be compared with this one: it is of another {'; '.join(others)}. Save a new one"
        )

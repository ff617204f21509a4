"""What holds for every test, here and in benchmarks/: signals, loops, groups, and that nothing outlives the run."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import importlib
import os
import subprocess
import sys
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest
from _pytest.assertion.rewrite import AssertionRewritingHook
from execnet import gateway_io
from execnet.gateway_base import Popen2IO
from xdist.remote import Producer
from xdist.scheduler import LoadGroupScheduling
from xdist.workermanage import WorkerController

from . import forks, signals
from .reaper import Reaper

# What loads a core by itself, runs several processes flat out, or takes long: {folder or file: group}. The tests of a
# group run one after the other, and the groups begin before all else. There are as many groups as cores: other tests
# wait most of their time, and fill what the groups leave.
GROUPS = {
    "tests/browser/": "first",
    "tests/test_style.py": "first",
    "tests/system/test_churn.py": "first",
    "tests/system/test_endurance.py": "first",
    "tests/tuning/": "second",  # one search is shared
    "tests/tools/bench/run/": "second",
    "tests/tools/bench/test_session.py": "second",
    "benchmarks/gates/": "second",
    "tests/system/hostile/": "second",
}
# What hands bytes to the event loop's own transports runs on both; the rest on the loop of production.
BOTH_LOOPS = ("tests/transport/",)
LOOPS = {name: ("asyncio", {"use_uvloop": name == "uvloop"}) for name in ("uvloop", "asyncio")}
REAPER = pytest.StashKey[Reaper]()
# The longest time from a worker's last test to its end. No test's own limit applies any more, and a thread, a pipe or a
# child that a test has left behind would hold up the whole run.
END_SECONDS = 60


class Scheduling(LoadGroupScheduling):
    """Fails a test whose worker has ended, once, and runs the rest.

    `LoadGroupScheduling` starts such a test again and again, and raises when several workers end at once. A group's
    tests run in one worker.
    """

    def remove_node(self, node: WorkerController) -> str | None:
        """Returns the test that the worker ended with; the others that it was given wait for another worker."""
        units = self.assigned_work.pop(node)  # {scope: {test: whether it is done}}
        hung: str | None = next((test for unit in units.values() for test, done in unit.items() if not done), None)
        for scope, unit in units.items():
            left: dict[str, bool] = {test: done for test, done in unit.items() if not done and test != hung}
            if left:
                self.workqueue[scope] = left
        for other in self.assigned_work:
            self._reschedule(other)
        return hung

    def _split_scope(self, nodeid: str) -> str:
        """By path: a mark would have to change a test's name, which pytest 9.2 does not let pytest-xdist do."""
        return group_of(nodeid) or nodeid

    def _reschedule(self, node: WorkerController) -> None:
        if node in self.registered_collections:  # a new worker is given work when it has collected
            super()._reschedule(node)


class Worker(gateway_io.Popen2IOMaster):
    """A worker that is a fork, as its own children are: each would import what every server imports, twice."""

    def __init__(self, args: list[str], execmodel: Any) -> None:
        argv = [sys.executable, *args[-2:]]  # -c and the code, without flags
        self.popen = forks.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=forks.fork_here)
        Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel=execmodel)


def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Has workers forked; not where coverage is measured, which has to see what a worker imports."""
    if sys.platform == "linux" and not config.pluginmanager.hasplugin("_cov"):
        vars(gateway_io)["Popen2IOMaster"] = Worker


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:  # noqa: ARG001 - the hook's signature
    """Two workers for each core, and one: most tests wait for something half of their time."""
    return 2 * len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else 2


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    return Scheduling(config, log) if config.getoption("dist") == "loadgroup" else None


def pytest_configure(config: pytest.Config) -> None:
    signals.restore()
    # Bytecode is kept, whatever PYTHONDONTWRITEBYTECODE says: hundreds of processes import the same files, and to
    # rewrite the assertions of all tests takes each worker 5 s of CPU.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if not config.getoption("numprocesses"):  # this process runs tests
        configure_hypothesis()
    if hasattr(config, "workerinput"):
        atexit.register(end_at_once)  # the first of all that is registered here, and so the last that is called
    else:  # a worker is watched by the process that started it
        config.stash[REAPER] = Reaper()


def configure_hypothesis() -> None:
    """Loads the profile, and hypothesis as it is: to rewrite the assertions of its hundred files takes 1 s of CPU."""
    finders = sys.meta_path[:]
    sys.meta_path[:] = [one for one in finders if not isinstance(one, AssertionRewritingHook)]
    settings = importlib.import_module("hypothesis").settings
    sys.meta_path[:] = finders
    settings.register_profile("default", deadline=None, max_examples=50)
    settings.register_profile("thorough", deadline=None, max_examples=1_000)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def end_at_once() -> None:
    """Ends a worker that has reported everything: to free its objects one by one takes it seconds."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(0)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Ends a worker that does not end by itself, and prints where each of its threads stands."""
    if hasattr(session.config, "workerinput"):
        faulthandler.dump_traceback_later(END_SECONDS, exit=True, file=sys.__stderr__ or 2)


def pytest_unconfigure(config: pytest.Config) -> None:
    forks.close()
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined] # multiprocessing's, if it has started one
    faulthandler.cancel_dump_traceback_later()  # pytest-xdist lets it wait for the others, then ends it
    if REAPER in config.stash:
        config.stash[REAPER].close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Imports the worker's share of the tests first, so that each file of a fresh clone is rewritten by one worker."""
    worker: dict[str, Any] | None = getattr(session.config, "workerinput", None)
    if worker is None or session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    root = session.config.rootpath
    files = sorted(path for folder in session.config.getini("testpaths") for path in (root / folder).rglob("test_*.py"))
    for path in files[int(worker["workerid"].removeprefix("gw")) % worker["workercount"] :: worker["workercount"]]:
        with contextlib.suppress(Exception):  # collecting it reports the error
            importlib.import_module(module_of(path.relative_to(root)))


def pytest_collection_finish() -> None:
    """Excepts the tests from the collections of garbage to come, and makes those rarer: an eighth of the CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def module_of(path: Path) -> str:
    """The name of a file's module: `tests.core.test_log` of `tests/core/test_log.py`."""
    return ".".join(path.with_suffix("").parts)


def group_of(nodeid: str) -> str | None:
    """The group of a test; None for most."""
    return next((group for path, group in GROUPS.items() if nodeid.startswith(path)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [*GROUPS.values(), None]
    items.sort(key=lambda item: places.index(group_of(item.nodeid)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "anyio_backend" in metafunc.fixturenames:
        both = metafunc.definition.get_closest_marker("both_loops") is not None
        both = both or metafunc.definition.nodeid.startswith(BOTH_LOOPS)
        names = list(LOOPS) if both else ["uvloop"]
        metafunc.parametrize(
            "anyio_backend", names, indirect=True, scope="session", ids=names if both else [pytest.HIDDEN_PARAM]
        )


@pytest.fixture(scope="session")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loop of an async test: uvloop, or both where it is marked `both_loops`."""
    return LOOPS[request.param]

"""What runs under valgrind: each scenario with few steps and with more, each time in a process of its own.

The processes are forks of one that has imported everything, so that imports are paid for once and both runs start from
the same heap; valgrind counts for each of them from its own beginning, and the difference is what the steps took.

Where objects lie in memory makes up to one per cent: addresses are hashes, and an allocation that needs a new page
takes longer. Everything moves them, the length of a path or a library's new version. So each scenario is counted with
several layouts of the heap, of which the gate takes the least: what is unlucky only adds to it.

The interpreter finds methods in a table of 4,096 places, and two that are in turn looked for in one place take it from
each other. The place is made of a number that a type gets when it is first used, so that it depends on all that was
used before. In each layout types get other numbers.

Prints one line of JSON: {scenario: [[pid of the shorter run, pid of the longer run] for each layout]}.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import random
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import product
from pathlib import Path

from benchmarks import steady_clock

from .scenarios import Scenario, load_all

WARM_STEPS = 12  # the interpreter has specialised its bytecode, dictionaries and lists have their sizes
STEPS = 12
WAY = "12 steps, the least of 3 layouts, types numbered anew, own clocks"  # counts of another way are not compared
_SIZES = range(16, 513, 16)  # the classes of small objects (CPython's Objects/obmalloc.c)
_MOST_OF_A_SIZE = 200
_PLACES = 4096  # of the table of methods (CPython's Include/internal/pycore_typeobject.h)


class BrokenScenarioError(AssertionError):
    """A step that does not do what its scenario says."""

    def __init__(self, scenario: Scenario, did: int) -> None:
        super().__init__(scenario.name, did)
        self.scenario = scenario
        self.did = did

    def __str__(self) -> str:
        return f"a step of {self.scenario.name} did {self.did} in place of {self.scenario.does}"


def scatter(layout: int) -> list[bytes]:
    """Takes some blocks of each size, in numbers that `layout` decides, so that what comes later lies elsewhere."""
    numbers = random.Random(layout)
    return [bytes(size - 40) for size in _SIZES if size > 40 for _ in range(numbers.randrange(_MOST_OF_A_SIZE))]


def renumber(layout: int) -> None:
    """Has types get other numbers than those they have, from a first one that `layout` decides."""
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(object))  # which all others are made from

    class Numbered:
        value = 0

    for number in range(random.Random(layout).randrange(_PLACES)):
        Numbered.value = number  # takes the number from it
        assert Numbered.value == number  # gives it the next


def run_steps(scenario: Scenario, steps: int) -> None:
    """Builds the scenario and runs it."""
    with scenario.build() as step:
        for _ in range(steps):
            did = step()
            if did != scenario.does:
                raise BrokenScenarioError(scenario, did)
        os._exit(0)  # before anything is torn down, which nobody wants to count


def fork(scenario: Scenario, layout: int, steps: int) -> int:
    """Runs the scenario in a process of its own; returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            ballast = scatter(layout)
            renumber(layout)
            run_steps(scenario, steps)
            del ballast
        except BaseException:  # noqa: BLE001 - whatever it was, this process must not go on as its parent
            traceback.print_exc()
        os._exit(1)
    return pid


class Jobs:
    """So many processes at a time."""

    def __init__(self, limit_processes: int) -> None:
        self._limit_processes = limit_processes
        self._running = 0
        self.failed = False

    def started(self) -> None:
        """One more runs; waits until there is room for the next."""
        self._running += 1
        while self._running >= self._limit_processes:
            self._wait()

    def finish(self) -> None:
        """Waits for those that are left."""
        while self._running:
            self._wait()

    def _wait(self) -> None:
        self.failed = os.wait()[1] != 0 or self.failed
        self._running -= 1


def wanted(names: Sequence[str]) -> Iterator[Scenario]:
    """The scenarios called `names`, all by default; modules behind the last of them are not imported."""
    left = set(names)
    for scenario in load_all():
        if not names or scenario.name in left:
            yield scenario
            left.discard(scenario.name)
            if names and not left:
                return


def main(root: str, processes: str, *names: str) -> None:
    """Runs the scenarios called `names`, all by default, so many processes at a time."""
    steady_clock.install()
    server = import_module("fanwise")
    if not Path(server.__file__ or "").is_relative_to(root):
        raise AssertionError(f"{server.__file__} is not in {root}")
    gc.disable()  # collections come when they like
    gc.freeze()
    jobs = Jobs(int(processes))
    pids: dict[str, list[list[int]]] = {}  # {scenario: [[pid of the shorter run, of the longer] for each layout]}
    for scenario in wanted(names):
        pids[scenario.name] = [[] for _ in range(scenario.layouts)]
        for layout, steps in product(range(scenario.layouts), (WARM_STEPS, WARM_STEPS + STEPS)):
            pids[scenario.name][layout].append(fork(scenario, layout, steps))
            jobs.started()
            if jobs.failed:
                jobs.finish()
                sys.exit(1)
    jobs.finish()
    sys.stdout.write(json.dumps(pids) + "\n")
    sys.exit(jobs.failed)


if __name__ == "__main__":
    main(*sys.argv[1:])

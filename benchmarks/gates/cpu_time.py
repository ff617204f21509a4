"""One side of the A/B gate: a process that holds all scenarios and takes the time of one when it is asked to.

First it prints one line of JSON: {scenario: why it cannot be measured here, or null}. Then it answers each line
"SCENARIO STEPS" with the CPU time of a step in nanoseconds, as kernel and user space have spent it on this process.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import fanwise

from .scenarios import MODULES, Scenario, Step, load

WARM_STEPS = 5


def prepare(scenario: Scenario, stack: ExitStack) -> Step:
    """Builds the scenario, and sees to it that it works."""
    step = stack.enter_context(scenario.build())
    for _ in range(WARM_STEPS):
        did = step()
        if did != scenario.does:
            raise AssertionError(f"a step did {did} in place of {scenario.does}")
    return step


def measure(step: Step, steps: int) -> int:
    """CPU nanoseconds per step, without what collecting the garbage before may cost."""
    gc.collect()
    start = time.process_time_ns()
    for _ in range(steps):
        step()
    return (time.process_time_ns() - start) // steps


def main(root: str) -> None:
    """Answers until nothing more is asked."""
    if not Path(fanwise.__file__).is_relative_to(root):
        raise AssertionError(f"{fanwise.__file__} is not in {root}")
    steps: dict[str, Step] = {}  # {scenario: its step}
    problems: dict[str, str | None] = {}
    with ExitStack() as stack:
        for module in MODULES:
            try:
                for scenario in load(module):
                    try:
                        steps[scenario.name] = prepare(scenario, stack)
                        problems[scenario.name] = None
                    except (AttributeError, AssertionError, TypeError) as error:  # another revision's interfaces
                        problems[scenario.name] = f"{type(error).__name__}: {error}"
            except ImportError as error:
                problems[module] = str(error)
        gc.collect()
        gc.freeze()
        gc.disable()  # collections come when they like
        sys.stdout.write(json.dumps(problems) + "\n")
        sys.stdout.flush()
        for line in sys.stdin:
            name, count = line.split()
            sys.stdout.write(f"{measure(steps[name], int(count))}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

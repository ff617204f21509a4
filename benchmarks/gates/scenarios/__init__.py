"""What the instruction gate and the A/B gate measure: the hot path in small pieces, the same steps in every run.

A scenario is a context manager that builds what it needs and yields a step. A step does the same work each time,
leaves everything as it was, and returns what it has done, so that nothing is measured that does not work. It takes
about a millisecond. Clocks stand still, nothing comes from a network.

Modules are loaded one by one: a revision without the JSON dialect can still be compared in everything else.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeAlias

Step: TypeAlias = Callable[[], int]

MODULES = ("fanout", "encodings", "queues", "intake", "dialects", "deflate", "serving", "receiving")


class Scenario(NamedTuple):
    """A piece of the hot path.

    Attributes:
        name: What reports and baselines call it.
        build: Makes a step; its docstring says which change the scenario guards against.
        does: What each step returns.
        layouts: Of the heap in which its instructions are counted: fewer where it takes long to build.
    """

    name: str
    build: Callable[[], AbstractContextManager[Step]]
    does: int
    layouts: int = 3


def load(module: str) -> tuple[Scenario, ...]:
    """The scenarios of one of MODULES."""
    scenarios: tuple[Scenario, ...] = importlib.import_module(f"{__name__}.{module}").SCENARIOS
    return scenarios


def load_all() -> Iterator[Scenario]:
    """All scenarios, in the order of reports."""
    for module in MODULES:
        yield from load(module)

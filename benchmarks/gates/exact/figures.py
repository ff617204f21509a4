"""What the exact gate counts, and the verdicts on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, TypeAlias

from benchmarks.gates.trees import environment

Figures: TypeAlias = "dict[str, float]"  # {what was counted: how many}


class Part(NamedTuple):
    """A part of the exact gate.

    Attributes:
        name: Of its module in `benchmarks.gates.exact`, which has `count(root)` for its figures.
        unit: Of its figures.
        share: What a figure may grow by, as a share of it.
        most: What a figure may grow by at least, however small it is.
    """

    name: str
    unit: str
    share: float
    most: float


class CountError(RuntimeError):
    """A part of the gate could not count."""

    def __init__(self, part: str, said: str) -> None:
        super().__init__(part, said)
        self.part = part
        self.said = said

    def __str__(self) -> str:
        return f"{self.part} could not be counted:\n{self.said}"


class Verdict(NamedTuple):
    """What became of one figure."""

    part: Part
    name: str
    was: float | None  # None: the revision's server cannot be counted
    counted: float | None  # None: this tree's cannot be

    @property
    def failed(self) -> bool:
        """Whether it has grown by more than it may, or cannot be counted any more."""
        if self.counted is None:
            return True
        return self.was is not None and self.counted - self.was > max(self.was * self.part.share, self.part.most)

    @property
    def less(self) -> bool:
        """Whether it has become smaller by as much."""
        if self.counted is None or self.was is None:
            return False
        return self.was - self.counted > max(self.was * self.part.share, self.part.most)

    def __str__(self) -> str:
        if self.counted is None or self.was is None:
            where = "this tree" if self.counted is None else "the revision"
            return f"{self.name:44} {'':>12} {'':>12}  cannot be counted in {where}"
        word = "MORE" if self.failed else "less" if self.less else "same"
        return f"{self.name:44} {self.was:12,.6g} {self.counted:12,.6g}  {word}"


def judge(part: Part, was: Figures, counted: Figures) -> list[Verdict]:
    """A verdict for each figure of either tree."""
    return [Verdict(part, name, was.get(name), counted.get(name)) for name in {**was, **counted}]


def count(part: Part, root: Path) -> Figures:
    """Runs the part's program with the server in `root`.

    Raises:
        CountError: The program has failed.
    """
    program = [sys.executable, "-m", "benchmarks.gates.exact.counting", part.name, str(root)]
    around = environment(root, PYTHONHASHSEED="0")
    done = subprocess.run(program, cwd=root, env=around, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CountError(part.name, done.stderr or done.stdout)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures

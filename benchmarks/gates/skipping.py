"""A gate that looks at nothing must not pass: it is skipped only where somebody has said so."""

from __future__ import annotations

import os
import sys

VARIABLE = "BENCH_MAY_SKIP"  # set: a gate that cannot look passes
CI = "CI"  # set by GitHub, GitLab and most others


class SkippedError(RuntimeError):
    """A gate cannot look, and nobody has said that this is all right."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"skipped: {self.problem}. {VARIABLE}=1 lets that pass."


def check_skip(problem: str, *, may_skip: bool = False) -> None:
    """Says what is skipped.

    Raises:
        SkippedError: This is CI, and neither `may_skip` nor the variable lets a gate be skipped.
    """
    if os.environ.get(CI) and not (may_skip or os.environ.get(VARIABLE)):
        raise SkippedError(problem)
    sys.stdout.write(f"skipped: {problem}.\n")
    sys.stdout.flush()

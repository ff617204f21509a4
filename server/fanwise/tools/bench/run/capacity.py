"""`--find-capacity`: which load a server bears before a latency bound breaks. A pure search; runs are handed in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import OptionError
from .results import QUANTILES, Results

_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_BOUND = re.compile(r"(?P<name>[^=]+)=(?P<number>\d+(\.\d+)?)(?P<unit>us|ms|s)")
_CLOSE_ENOUGH = 1.1  # the knee lies between a rate that held and one that broke, this factor above
_STEPS = 32  # doublings and halvings together; 2 ** 20 takes half of them
_KEPT_UP_SHARE = 0.95  # of what was to be published


@dataclass(frozen=True, slots=True)
class Bound:
    """A latency that a percentile must not exceed."""

    name: str
    limit_ms: float

    @classmethod
    def parse(cls, text: str) -> Bound:
        """From "p99=100ms".

        Raises:
            OptionError: The text is no bound, or of a percentile that is not measured.
        """
        match = _BOUND.fullmatch(text.strip())
        if match is None or match["name"] not in QUANTILES or not float(match["number"]):
            names = ", ".join(QUANTILES)
            raise OptionError("--find-capacity", text, f"one of {names}, = and a time in us, ms or s: p99=100ms")
        return cls(match["name"], float(match["number"]) * _UNITS_MS[match["unit"]])

    def broken_by(self, score: Results) -> str | None:
        """Returns why a run did not hold the bound; None if it did."""
        offered = (score.plan.rate or 0) * score.plan.duration_seconds
        reached_ms = score.quantile_ms(self.name)
        if score.flaws:
            return ", ".join(f"{times} {name}" for name, times in score.flaws.items())
        if score.published < _KEPT_UP_SHARE * offered - 1:
            return f"only {score.published} of {offered:.0f} messages were taken in"
        if reached_ms > self.limit_ms:
            return f"{self.name} was {reached_ms:.1f} ms"
        return None


@dataclass(slots=True)
class Step:
    """One rate that was tried; `broken` says why the bound did not hold."""

    rate: float
    score: Results
    broken: str | None


@dataclass
class Capacity:
    """The result of a search: `held` is the highest rate that held, `broke` the lowest that did not."""

    bound: Bound
    steps: list[Step] = field(default_factory=list)
    held: Step | None = None
    broke: Step | None = None
    limited: str | None = None  # why the generator, and not the server, ended the search

    @property
    def next_rate(self) -> float | None:
        """Returns the next rate to try; None when the knee is found, or out of reach."""
        if self.limited or len(self.steps) >= _STEPS:
            return None
        if self.broke is None:
            return self.steps[-1].rate * 2
        if self.held is None:
            return self.broke.rate / 2 if self.broke.rate > 1 else None
        if self.broke.rate <= self.held.rate * _CLOSE_ENOUGH:
            return None
        return math.sqrt(self.held.rate * self.broke.rate)

    def take(self, rate: float, score: Results) -> None:
        """Takes the result of a rate."""
        step = Step(rate, score, self.bound.broken_by(score))
        self.steps.append(step)
        if score.bottleneck:
            self.limited = f"at {rate:.0f} messages/s {score.bottleneck}"
        elif step.broken:
            self.broke = step
        else:
            self.held = step


def find_capacity(bound: Bound, first_rate: float, run: Callable[[float], Results]) -> Capacity:
    """Doubles the rate until the bound breaks, then closes in on the knee."""
    capacity = Capacity(bound)
    rate: float | None = first_rate
    while rate is not None:
        capacity.take(rate, run(rate))
        rate = capacity.next_rate
    return capacity

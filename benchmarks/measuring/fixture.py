"""Rounds and iterations of a benchmark that is counted, or measured beside a load."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .callgrind import Counter
from .cpu_ratio import cpu_seconds, load, quietest

ROUND_SECONDS = 0.001  # of CPU that a round takes at least, where it may be repeated
BUDGET_SECONDS = 0.15  # of CPU for all rounds
LEAST_ROUNDS, MOST_ROUNDS, KEPT_ROUNDS = 5, 150, 3
COUNTED_INSTRUCTIONS = 1_000_000  # of a counted round, at least, where it may be repeated
MOST_CALLS = 1024
LONG_SECONDS, TOO_LONG_SECONDS = 0.05, 0.5  # of CPU that a call takes; counted, the longer would take up to a minute
WARM_CALLS = 12  # dictionaries and lists have their sizes, the interpreter has specialised what is called 8 times
LONG_WARM_CALLS = 3  # a long call does all of that by itself
WARM, CALLS = "calls before", "calls"  # what a saved run notes

Call = Callable[[], Any]


class SteadyFixture(BenchmarkFixture):
    """The `benchmark` of a test: takes the same calls, and measures in another way.

    Attributes:
        counter: Counts instructions; None: CPU time is measured beside a load.
        saved: What the saved run that this one is compared with has noted of this benchmark: how often it was called.
            Empty: there is no such run, or the benchmark is not in it.
    """

    counter: Counter | None = None
    saved: Mapping[str, int] = MappingProxyType({})

    def __call__(self, function_to_benchmark: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Measures calls of the function; returns what it returns."""
        if self.disabled:
            return super().__call__(function_to_benchmark, *args, **kwargs)  # type: ignore[no-untyped-call]
        return self._measure("benchmark(...)", lambda: function_to_benchmark(*args, **kwargs), None)

    def pedantic(
        self,
        target: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        setup: Call | None = None,
        teardown: Any = None,
        rounds: int = 1,
        warmup_rounds: int = 0,
        iterations: int = 1,
    ) -> Any:
        """Measures calls of `target`, each after `setup`, which may return its arguments; chooses the rounds itself."""
        if self.disabled:
            return super().pedantic(target, args, kwargs, setup, teardown, rounds, warmup_rounds, iterations)  # type: ignore[no-untyped-call]
        given = [args, kwargs or {}]

        def prepare() -> None:
            found = setup() if setup is not None else None
            if found is not None:
                given[:] = found

        call = partial(_call_with, target, given)
        return self._measure("benchmark.pedantic(...)", call, None if setup is None else prepare)

    def leave_out(self, why: str) -> None:
        """Skips a test whose work is done in another process or whose result is a time: it is not counted here."""
        if not self.disabled:
            self.skipped = True
            pytest.skip(f"{why}: --benchmark-by=time measures it")

    def _measure(self, mode: str, call: Call, setup: Call | None) -> Any:
        self._mode = mode
        try:
            return self._count(call, setup) if self.counter is not None else self._compare(call, setup)
        except Exception:
            self.has_error = True
            raise

    def _count(self, call: Call, setup: Call | None) -> Any:
        """Counts a round, after as many calls as in the saved run, and of as many: where logs let go, calls differ."""
        took = _round(call, setup, 1)
        if not self.saved and took > TOO_LONG_SECONDS:
            self.skipped = True
            pytest.skip("takes too long to be counted: --benchmark-by=cpu measures it")
        warm = self.saved.get(WARM) or (LONG_WARM_CALLS if took > LONG_SECONDS else WARM_CALLS)
        for _ in range(warm - 1):
            _round(call, setup, 1)
        once = warm == LONG_WARM_CALLS or setup is not None
        calls = 1 if once else _calls_for(self._count_calls(call, None, 1))
        self.extra_info |= {WARM: warm, CALLS: (calls := self.saved.get(CALLS, calls))}
        stats = self._make_stats(calls)  # type: ignore[no-untyped-call]
        stats.update(1e-9 * (self._count_calls(call, setup, calls) - self._count_calls(call, None, 0)))
        return _once_more(call, setup)

    def _count_calls(self, call: Call, setup: Call | None, calls: int) -> int:
        assert self.counter is not None
        if setup is not None:
            setup()
        gc.collect()
        gc.disable()
        try:
            return self.counter.count(lambda: _repeat(call, calls))
        finally:
            gc.enable()

    def _compare(self, call: Call, setup: Call | None) -> Any:
        """Takes rounds and loads in turn, and keeps the quietest."""
        took = min(_round(call, setup, 1) for _ in range(LONG_WARM_CALLS))
        calls = 1
        while setup is None and took < ROUND_SECONDS / 2:
            calls = min(10 * calls, max(calls + 1, round(calls * ROUND_SECONDS / max(took, 1e-9))))
            took = _round(call, setup, calls)
        gc.collect()
        times = max(LEAST_ROUNDS, min(MOST_ROUNDS, round(BUDGET_SECONDS / max(took, 1e-9))))
        rounds = [(_round(call, setup, calls), cpu_seconds(load)) for _ in range(times)]
        stats = self._make_stats(calls)  # type: ignore[no-untyped-call]
        for seconds in quietest(rounds, KEPT_ROUNDS):
            stats.update(seconds)
        return _once_more(call, setup)


def _calls_for(instructions: int) -> int:
    """Returns the calls of a round: a power of 4, so that it does not depend on a few instructions more or less."""
    calls = 1
    while calls < MOST_CALLS and calls * instructions < COUNTED_INSTRUCTIONS:
        calls *= 4
    return calls


def _call_with(target: Callable[..., Any], given: list[Any]) -> Any:
    args, kwargs = given
    return target(*args, **kwargs)


def _once_more(call: Call, setup: Call | None) -> Any:
    """Returns what a call returns that nobody measures."""
    if setup is not None:
        setup()
    return call()


def _repeat(call: Call, times: int) -> None:
    for _ in range(times):
        call()


def _round(call: Call, setup: Call | None, calls: int) -> float:
    if setup is not None:
        setup()
    return cpu_seconds(lambda: _repeat(call, calls))

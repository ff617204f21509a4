from __future__ import annotations

import pytest

from .ratio import CASES, Case, interleave, judge, measure


def test_too_slow_is_a_sentence_with_both_numbers() -> None:
    """It says what was measured and what is expected."""
    case = Case("tutorial loop", 1000, 1, 4)
    assert judge(case, 3.96) == (
        False,
        "FAILED: tutorial loop, 1,000 clients, 1 at once: Fanwise is 4.0 times as fast, at least 4 times is expected.",
    )
    assert judge(case, 4.0)[0]


def test_rounds_are_interleaved() -> None:
    """One side, the other side, one side, the other side."""
    calls: list[str] = []
    ratios = interleave(lambda _: calls.append("ours"), lambda _: calls.append("theirs"), rounds=3)
    assert calls[2:] == ["ours", "theirs"] * 3
    assert len(ratios) == 3


@pytest.mark.parametrize("case", [case for case in CASES if case.burst == 1], ids=str)
def test_fanwise_is_as_fast_as_it_has_to_be(case: Case) -> None:
    """The gate itself, with fewer rounds. What costs each client something is seen by it (`test_faults.py`)."""
    fast, sentence = judge(case, measure(case, rounds=3))
    assert fast, sentence

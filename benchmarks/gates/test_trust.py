from __future__ import annotations

from .all import Look
from .trust import benchmarks, part, plain_look, status, table


def test_the_table_counts_alarms_of_each_gate() -> None:
    """And runs that could not look, apart from them."""
    looks = [Look("ratio", 0, 10, []), Look("ratio", 1, 30, ["slower"]), Look("memory", 2, 5, [])]
    assert [line.split()[:4] for line in table(looks).splitlines()[1:]] == [
        ["ratio", "2", "1", "0"],
        ["memory", "1", "0", "1"],
    ]
    assert (status(looks), status(looks[:1]), status(looks[2:])) == (1, 0, 2)


def test_the_plain_command_has_an_alarm_only_where_a_benchmark_is_slower() -> None:
    """A benchmark that does not run is no alarm, and is not passed over."""
    regressed = "Performance has regressed:\n\ttest_a (0001_trust) - Field 'mean' has failed PercentageRegressionCheck"
    assert plain_look(regressed, 1, 1.0).caught[0].startswith("test_a")
    assert (plain_look(regressed, 1, 1.0).status, plain_look("1 failed", 1, 1.0).status) == (1, 2)
    assert plain_look("142 passed", 0, 1.0).status == 0


def test_each_part_has_its_run() -> None:
    """Runs in a row have all benchmarks between them, and no run has none."""
    all_ = benchmarks()
    runs = [part(all_, number, 5) for number in range(5)]
    assert sorted(name for run in runs for name in run) == all_
    assert all(runs)
    assert part(all_, 7, 5) == runs[2]

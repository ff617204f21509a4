from __future__ import annotations

from pathlib import Path

import pytest

from . import history_page
from .history import FOLDER, Line, append, read, series
from .history_page import Point, Series

FACTS = {"python": "3.11.7"}


def line(number: int, value: float, *, facts: dict[str, str] = FACTS) -> Line:
    return Line(
        f"{number:040}", f"2026-11-{number:02}T12:00:00+00:00", f"change {number}", facts, {"memory": {"a": value}}
    )


def test_each_month_has_a_file_and_is_read_in_order(tmp_path: Path) -> None:
    """By the time of the commit in UTC; a commit that was counted again counts once, as it was counted last."""
    lines = [line(2, 20.0), line(1, 10.0), line(2, 21.0)]
    assert [append(one, tmp_path).name for one in lines] == ["2026-11.jsonl"] * 3
    late = line(3, 30.0)._replace(time="2026-11-30T23:30:00-02:00")
    assert append(late, tmp_path).name == "2026-12.jsonl"
    assert read(tmp_path) == [line(1, 10.0), line(2, 21.0), late]


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    """With its file and its number."""
    append(line(1, 10.0), tmp_path)
    with (tmp_path / "2026-11.jsonl").open("a") as file:
        file.write('{"commit": "abc"}\n')
    with pytest.raises(ValueError, match=r"2026-11\.jsonl, line 2: "):
        read(tmp_path)


def test_the_commit_that_moved_a_figure_is_found() -> None:
    """Also where several small steps have moved it together; another build is another level."""
    values = [100.0, 101.0, 101.5, 102.5, 102.5, 90.0]
    builds = [{"python": "3.11.8"} if value == 90.0 else FACTS for value in values]
    (found,) = series(
        [line(at + 1, value, facts=facts) for at, (value, facts) in enumerate(zip(values, builds, strict=True))]
    )
    (move,) = history_page.moves(found)
    assert (move.point.subject, move.worse) == ("change 4", True)
    assert move.share == pytest.approx(0.025)


def test_less_is_worse_where_more_is_better() -> None:
    """The ratio gate's figures say how many times as fast Fanwise is."""
    points = [Point("a", "2026-11-01", "", 8.0, ""), Point("b", "2026-11-02", "", 4.0, "")]
    (move,) = history_page.moves(Series("ratio", "tutorial loop", points))
    assert move.worse


def test_the_page_needs_no_other_file_and_trusts_no_text() -> None:
    """What a commit's message says is text."""
    page = history_page.draw(series([line(1, 100.0), line(2, 200.0)._replace(subject="<script>alert(1)</script>")]))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "+100.0&nbsp;%" in page
    assert page.count("<circle") == 2
    assert not [word for word in ("http:", "https:", "src=", "href=") if word in page]


def test_a_commit_has_one_row_with_all_that_it_has_moved() -> None:
    """What is worse stands first; each drawing names the last commit that has moved it."""
    figures = [{"memory": {"a": 100.0, "b": 100.0}}, {"memory": {"a": 90.0, "b": 105.0}}]
    page = history_page.draw(series([line(at + 1, 0.0)._replace(figures=found) for at, found in enumerate(figures)]))
    assert page.count("change 2") == 2 + 1 + 2  # of two points, of the row, of two drawings
    assert page.rindex("+5.0&nbsp;%") < page.rindex("-10.0&nbsp;%")


def test_the_history_that_is_here_can_be_read() -> None:
    """Each line, of each month."""
    assert all(one.figures for one in read(FOLDER))

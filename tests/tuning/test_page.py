"""`tuning.page`: a proposal as a page of its own."""

from __future__ import annotations

from html.parser import HTMLParser

from fanwise.tuning.page import chart, page

from ..support.tuned import found


class Counted(HTMLParser):
    """Counts the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_has_a_curve_for_each_figure_and_needs_nothing_else() -> None:
    _, proposal = found()
    counted = Counted()
    counted.feed(page(proposal, source="a <plan>"))
    assert counted.tags.count("svg") == counted.tags.count("polyline") == 4
    assert counted.tags.count("circle") == 4 * len(proposal.curve["disconnect"])
    assert counted.tags.count("line") == 4 * 3  # the axis, today's setting and the proposed one
    assert counted.links == []
    assert "a &lt;plan&gt;" in page(proposal, source="a <plan>")


def test_a_chart_without_points_says_so() -> None:
    assert "nothing to show" in chart([], [], str)

from __future__ import annotations

import re
from html.parser import HTMLParser

from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.output.html import page
from fanwise.tools.bench.output.json import of_capacity, of_everything, of_run
from fanwise.tools.bench.run.capacity import Bound, find_capacity
from fanwise.tools.bench.run.comparison import compare
from fanwise.tools.load.behaviour import Behaviour

from ....support.bench import delivered, dropped, score

EVIL = "<script>alert('x')</script>&\""


class Tags(HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def made() -> str:
    evil = score(plan=Plan(url="ws://h/"), **dropped(f"4008 {EVIL}", kind=Behaviour.HEALTHY, times=300))
    capacity = find_capacity(Bound("p99", 100.0), 1.0, lambda _rate: score(cpu_seconds=0.99))
    factors = {"rival": EVIL, **compare(evil, score(), rival="x").record()}
    runs = [of_run(EVIL, evil), of_run("empty", score(tallies=delivered(0, 0)))]
    return page(of_everything(runs, factors=factors, capacity=of_capacity(capacity)))


def test_the_page_needs_nothing_else() -> None:
    """No script, no link, no picture, no address of anybody."""
    seen = Tags(made())
    assert not {"script", "link", "img", "iframe", "object"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name in ("src", "href") or name.startswith("on")]
    assert not re.search(r"url\(|@import|https?://", made())


def test_what_comes_from_outside_is_escaped() -> None:
    """It can be read, and does nothing."""
    assert EVIL in Tags(made()).text
    assert "<script" not in made()


def test_it_shows_the_run() -> None:
    """Distribution, course, drops; light and dark."""
    text = made()
    assert text.count("<svg") == 3
    assert text.count("<circle") == 300
    assert "and 100 more" in text
    assert "prefers-color-scheme: dark" in text
    assert "Dropped: nobody" in text
    limited = page(of_everything([of_run("x", score(cpu_seconds=0.99))], factors=None, capacity=None))
    assert '<p class="verdict open">not comparable: the generator used' in limited
    assert "Clients that read late" not in text
    slow = delivered(10, 10)
    slow[Behaviour.SLOW].deliveries = 5
    slow[Behaviour.SLOW].latency.add(2_000_000_000, 5)
    late = page(of_everything([of_run("x", score(tallies=slow))], factors=None, capacity=None))
    assert "<td>slow</td><td>0</td><td>0</td><td>0 (0 without a gap)</td><td>0</td><td>2,000 ms</td>" in late
    assert "Capacity within a p99 of 100 ms" in text

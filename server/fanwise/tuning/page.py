"""A proposal as one page of HTML that needs nothing else: drops, losses, age and memory over the queue's width."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from math import log2
from typing import Final

from ..tools.humanize import number, size, span
from .outcome import Outcome
from .proposal import Proposal
from .report import environment, lines

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 200, 70, 20, 14, 34
_INNER_WIDTH, _INNER_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #667085; --line: #d5dae1; --paper: #fff; --accent: #2563eb;
  --now: #b45309; --then: #067647; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #98a2b3; --line: #344054; --paper: #12161c;
  --accent: #7aa7ff; --now: #f0b35a; --then: #6ad7a4; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem }
pre { overflow-x: auto; border-left: 4px solid var(--line); padding: .4rem .9rem }
svg { width: 100%; height: auto; display: block } svg text { fill: var(--soft); font: 11px system-ui, sans-serif }
.axis { stroke: var(--line) } .dot { fill: var(--accent) }
.curve { fill: none; stroke: var(--accent); stroke-width: 1.5 }
.now { stroke: var(--now) } .then { stroke: var(--then) } .soft { color: var(--soft) }
.now, .then { stroke-width: 1.5; stroke-dasharray: 4 3 } b.now { color: var(--now) } b.then { color: var(--then) }
"""
# (title, figure, how it is written)
_CHARTS: Final[tuple[tuple[str, Callable[[Outcome], float], Callable[[float], str]], ...]] = (
    ("Connections dropped", lambda one: one.dropped, number),
    ("Publications lost", lambda one: one.lost, number),
    ("Age of publications when clients that were behind read them, p99", lambda one: one.age(0.99) or 0.0, span),
    ("Memory of logs and transports at worst", lambda one: one.memory_bytes, size),
)


def page(proposal: Proposal, *, source: str) -> str:
    """Returns the whole page. `source`: where the traffic comes from."""
    now, then = proposal.today.candidate.queue_messages, proposal.best.candidate.queue_messages
    marks = [("now", now), *([("then", then)] if then != now else [])]
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1"><title>fanwise tune</title>',
        f"<style>{_STYLE}</style></head><body><h1>fanwise tune</h1><p class=soft>{escape(source)}</p>",
        f"<pre>{escape(_proposed(proposal))}</pre>",
        "<p>Over <code>queue_messages</code>: <b class=now>today</b>",
        ", <b class=then>proposed</b>." if then != now else ".",
        "</p>",
    ]
    for policy, outcomes in proposal.curve.items():
        for title, figure, write in _CHARTS:
            points = [(float(one.candidate.queue_messages), figure(one)) for one in outcomes]
            parts.append(f"<h2>{escape(title)} ({escape(policy)})</h2>{chart(points, marks, write)}")
    parts.append(f"<h2>All figures</h2><pre>{escape(chr(10).join(lines(proposal)))}</pre></body></html>\n")
    return "".join(parts)


def chart(points: list[tuple[float, float]], marks: list[tuple[str, int]], write: Callable[[float], str]) -> str:
    """Returns a curve over a logarithmic axis, with a line for each of the marks (its class, its place)."""
    if not points:
        return "<p class=soft>nothing to show</p>"
    places = [x for x, _ in points] + [float(place) for _, place in marks]
    low, high = log2(max(min(places), 1)), log2(max(2.0, *places))
    top = max(y for _, y in points) or 1.0

    def across(x: float) -> float:
        return _LEFT + _INNER_WIDTH * (log2(max(x, 1)) - low) / max(high - low, 1e-9)

    def above(y: float) -> float:
        return _TOP + _INNER_HEIGHT * (1 - y / top)

    drawn = " ".join(f"{across(x):.1f},{above(y):.1f}" for x, y in points)
    dots = "".join(
        f'<circle class=dot cx="{across(x):.1f}" cy="{above(y):.1f}" r=3>'
        f"<title>{x:,.0f}: {escape(write(y))}</title></circle>"
        f'<text x="{across(x):.1f}" y="{_HEIGHT - 16}" text-anchor=middle>{x:,.0f}</text>'
        for x, y in points
    )
    lines_ = "".join(
        f'<line class={name} x1="{across(place):.1f}" x2="{across(place):.1f}" y1={_TOP} y2={_HEIGHT - _BOTTOM} />'
        for name, place in marks
    )
    base = _HEIGHT - _BOTTOM
    axis = (
        f"<line class=axis x1={_LEFT} x2={_WIDTH - _RIGHT} y1={base} y2={base} />"
        f"<text x={_LEFT - 6} y={_TOP + 4} text-anchor=end>{escape(write(top))}</text>"
        f"<text x={_LEFT - 6} y={base + 4} text-anchor=end>0</text>"
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role=img>{axis}{lines_}'
        f'<polyline class=curve points="{drawn}"/>{dots}</svg>'
    )


def _proposed(proposal: Proposal) -> str:
    return "\n".join(environment(proposal.changes)) or "Nothing to change."

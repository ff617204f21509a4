"""The page of the history: one drawing for each figure, with the commits that have moved it. It needs no other file."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, MARGIN = 560, 90, 6
# What a figure has to differ by from the level before, as a share, to be called moved.
STEPS = {"instructions": 0.01, "ratio": 0.25}
STEP = 0.02

STYLE = """
:root { color-scheme: light dark; --line: #3566c4; --worse: #c0392b; --better: #2e8b57; --grid: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid var(--grid); border-radius: 6px; padding: .6rem; }
figcaption { display: flex; justify-content: space-between; gap: 1rem; font-weight: 600; }
figcaption span { font-weight: 400; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; display: block; }
path { fill: none; stroke: var(--line); stroke-width: 1.5; } circle { fill: var(--line); }
.worse { fill: var(--worse); color: var(--worse); } .better { fill: var(--better); color: var(--better); }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .8rem .3rem 0; }
td { vertical-align: top; border-top: 1px solid var(--grid); } td:first-child { white-space: nowrap; }
td:last-child { width: 55%; font-variant-numeric: tabular-nums; }
figure p { margin: .2rem 0 0; font-size: .9em; }
code { font-size: .9em; }
"""


class Point(NamedTuple):
    """A figure of one commit. Points of different builds are not compared, and no line joins them."""

    commit: str
    time: str
    subject: str
    value: float
    build: str


class Series(NamedTuple):
    """A figure over commits, the oldest first."""

    group: str
    name: str
    points: list[Point]


class Move(NamedTuple):
    """A commit that has moved a figure.

    Attributes:
        group: Of the figure.
        name: Of the figure.
        at: Place in the series.
        point: What was counted.
        share: By how much, as a share of the level before; None: there was nothing before, the level was 0.
        worse: Whether that is for the worse.
    """

    group: str
    name: str
    at: int
    point: Point
    share: float | None
    worse: bool


def moves(series: Series) -> Iterator[Move]:
    """The commits that have moved the figure from its level, at once or together with those before."""
    step = STEPS.get(series.group, STEP)
    level: float | None = None
    build = ""
    for at, point in enumerate(series.points):
        if level is None or point.build != build:
            level, build = point.value, point.build
        elif abs(point.value - level) > step * abs(level):
            share = point.value / level - 1 if level else None
            yield Move(series.group, series.name, at, point, share, (point.value > level) is (series.group != "ratio"))
            level = point.value


def draw(all_series: list[Series]) -> str:
    """The page, as HTML."""
    moved = [move for series in all_series for move in moves(series)]
    groups: dict[str, list[Series]] = {}
    for series in all_series:
        groups.setdefault(series.group, []).append(series)
    sections = "".join(
        f"<h2>{escape(group)}</h2><div class=figures>{''.join(_figure(one) for one in members)}</div>"
        for group, members in groups.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Fanwise: what the gates have counted</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>What the gates have counted</h1>{sections}{_table(moved)}</html>\n"
    )


def _table(moved: list[Move]) -> str:
    """A row for each commit that has moved something, the newest first; what is worse stands before what is better."""
    if not moved:
        return "<p>No commit has moved a figure.</p>"
    commits: dict[tuple[str, str, str], list[Move]] = {}
    for move in sorted(moved, key=lambda move: (move.point.time, move.point.commit), reverse=True):
        commits.setdefault((move.point.time[:10], move.point.commit[:9], move.point.subject), []).append(move)
    rows = "".join(
        f"<tr><td>{escape(day)}<td><code>{escape(commit)}</code> {escape(subject)}<td>{_changes(found)}</tr>"
        for (day, commit, subject), found in commits.items()
    )
    return f"<h2>Commits that have moved a figure</h2><table><tr><th>day<th>commit<th>what has moved</tr>{rows}</table>"


def _changes(moved: list[Move]) -> str:
    found = sorted(moved, key=lambda move: (not move.worse, -abs(move.share or 0), move.group, move.name))
    return ", ".join(
        f"{escape('' if move.group == 'instructions' else f'{move.group}: ')}{escape(move.name)}&nbsp;{_change(move)}"
        for move in found
    )


def _class(move: Move) -> str:
    return "worse" if move.worse else "better"


def _change(move: Move) -> str:
    size = "new" if move.share is None else f"{100 * move.share:+.1f}&nbsp;%"
    return f'<span class="{_class(move)}">{size}</span>'


def _latest(moved: list[Move]) -> str:
    """Names the commit that has moved a figure last."""
    if not moved:
        return ""
    point = moved[-1].point
    return f"<p>{_change(moved[-1])} by <code>{escape(point.commit[:9])}</code> {escape(point.subject)}</p>"


def _figure(series: Series) -> str:
    """A drawing: from 0 up where the figure has changed much, else from near its least, so that a per cent shows."""
    values = [point.value for point in series.points]
    low, high = min(values), max(values)
    room = max(high - low, 0.02 * abs(high), 1e-9)
    low, high = low - room / 4, high + room / 4
    places = [
        (
            MARGIN + at * (WIDTH - 2 * MARGIN) / max(1, len(values) - 1),
            HEIGHT - MARGIN - (value - low) / (high - low) * (HEIGHT - 2 * MARGIN),
        )
        for at, value in enumerate(values)
    ]
    moved = list(moves(series))
    classes = {move.at: _class(move) for move in moved}
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{4 if at in classes else 2}" class="{classes.get(at, "")}"><title>'
        f"{escape(point.commit[:9])} {escape(point.time[:10])}: {_number(point.value)}\n{escape(point.subject)}"
        "</title></circle>"
        for at, ((x, y), point) in enumerate(zip(places, series.points, strict=True))
    )
    return (
        f"<figure><figcaption>{escape(series.name)}<span>{_number(values[-1])}</span></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(series.name, quote=True)}">'
        f'<path d="{_path(series.points, places)}"/>{dots}</svg>{_latest(moved)}</figure>'
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.6g}"


def _path(points: list[Point], places: list[tuple[float, float]]) -> str:
    steps, build = [], None
    for point, (x, y) in zip(points, places, strict=True):
        steps.append(f"{'L' if point.build == build else 'M'}{x:.1f} {y:.1f}")
        build = point.build
    return "".join(steps)

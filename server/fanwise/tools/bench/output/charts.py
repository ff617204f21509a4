"""Three small SVG charts, as text. Colours come from the page's style, so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Callable
from math import log2

Point = tuple[float, float]

BAR_FACTOR = 2 ** (1 / 8)  # where a bar of a distribution ends, as a multiple of where it begins
_WIDTH, _HEIGHT = 760, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 56, 10, 24
_INNER_WIDTH = _WIDTH - _LEFT - _RIGHT
_INNER_HEIGHT = _HEIGHT - _TOP - _BOTTOM
_TICKS = 4


def bars(points: list[Point]) -> str:
    """A distribution: x (above 0, logarithmic) is where a bar begins, y is its share."""
    if not points:
        return "<p class=soft>nothing to show</p>"
    low, high = log2(points[0][0]), log2(points[-1][0] * BAR_FACTOR)
    top = max(share for _, share in points)
    drawn = []
    for index, (start, share) in enumerate(points):
        following = points[index + 1][0] if index + 1 < len(points) else start * BAR_FACTOR
        left = _across(log2(start), low, high)
        width = max(_across(log2(min(following, start * BAR_FACTOR)), low, high) - left - 0.5, 1.0)
        height = share / top * _INNER_HEIGHT
        base = _TOP + _INNER_HEIGHT - height
        drawn.append(
            f'<rect class=bar x="{left:.1f}" y="{base:.1f}" width="{width:.1f}" height="{height:.1f}">'
            f"<title>from {start:.3g} ms: {share:.2%}</title></rect>"
        )
    ticks = [low + (high - low) * step / _TICKS for step in range(_TICKS + 1)]
    labels = "".join(_below(_across(tick, low, high), f"{2**tick:.3g} ms") for tick in ticks)
    return _svg("".join(drawn) + labels + _scale(top, lambda value: f"{value:.1%}", left=True))


def curve(first: list[Point], second: list[Point]) -> str:
    """Two curves over one x axis, each with a scale of its own: left and right."""
    if not first:
        return "<p class=soft>nothing to show</p>"
    end = first[-1][0] or 1.0
    parts = []
    for points, name in ((first, "first"), (second, "second")):
        top = max((y for _, y in points), default=0.0) or 1.0
        path = " ".join(f"{_across(x, 0, end):.1f},{_TOP + _INNER_HEIGHT * (1 - y / top):.1f}" for x, y in points)
        parts.append(f'<polyline class="curve {name}" points="{path}"/>')
        parts.append(_scale(top, _short, left=name == "first"))
    return _svg("".join(parts) + _seconds(end))


def marks(moments: list[float], *, end: float) -> str:
    """A dot for each moment; events at one time lie above each other, up to a height."""
    height_of: dict[int, int] = {}  # {pixel: dots there}
    dots = []
    for moment in moments:
        pixel = round(_across(moment, 0, end) / 4) * 4
        level = height_of[pixel] = height_of.get(pixel, 0) + 1
        y = max(_TOP + _INNER_HEIGHT - 4 * level, _TOP)
        dots.append(f'<circle class=mark cx="{pixel}" cy="{y}" r="2"/>')
    return _svg("".join(dots[:2000]) + _seconds(end))


def _svg(content: str) -> str:
    base = _TOP + _INNER_HEIGHT
    axis = f'<line class=axis x1="{_LEFT}" x2="{_LEFT + _INNER_WIDTH}" y1="{base}" y2="{base}"/>'
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role=img>{axis}{content}</svg>'


def _across(value: float, low: float, high: float) -> float:
    return _LEFT + (value - low) / ((high - low) or 1.0) * _INNER_WIDTH


def _below(x: float, label: str) -> str:
    return f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor=middle>{label}</text>'


def _seconds(end: float) -> str:
    return "".join(_below(_across(end * i / _TICKS, 0, end), f"{end * i / _TICKS:.3g} s") for i in range(_TICKS + 1))


def _scale(top: float, shown: Callable[[float], str], *, left: bool) -> str:
    x, anchor = (_LEFT - 6, "end") if left else (_LEFT + _INNER_WIDTH + 6, "start")
    heights = [(_TOP + 4 + _INNER_HEIGHT * (1 - i / 2), top * i / 2) for i in range(3)]
    return "".join(f'<text x="{x}" y="{y:.1f}" text-anchor={anchor}>{shown(value)}</text>' for y, value in heights)


def _short(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"

"""Figures for people: sizes, times and numbers in a few digits, and foreign text that cannot play with a terminal."""

from __future__ import annotations

_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB"))
_TIMES = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))
_MILLION = 1e6
_TENS, _HUNDREDS = 10, 100  # from here on with one decimal less


def digits(value: float) -> str:
    """In three digits: "4.27", "16.4", "146", "2,048"."""
    decimals = 2 if abs(value) < _TENS else 1 if abs(value) < _HUNDREDS else 0
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def size(value_bytes: float) -> str:
    """Decimal units, as on the network: "512 B", "146 KB", "4.27 MB", "1.07 GB"."""
    for unit_bytes, name in _SIZES:
        if abs(value_bytes) >= unit_bytes:
            return f"{digits(value_bytes / unit_bytes)} {name}"
    return f"{value_bytes:.0f} B"


def span(seconds: float) -> str:
    """A time: "0.31 ms", "23 s", "4.5 min", "2.1 d"."""
    for unit_seconds, name in _TIMES:
        if abs(seconds) >= unit_seconds:
            return f"{digits(seconds / unit_seconds)} {name}"
    return f"{digits(seconds * 1000)} ms"


def milliseconds(value_ms: float) -> str:
    """A latency, to be compared with others: "0.312 ms", "12.4 ms", "1,204 ms"."""
    return f"{value_ms:.3f} ms" if value_ms < 1 else f"{digits(value_ms)} ms"


def number(value: float) -> str:
    """A count or a rate: "3.1", "20,454", "11.4 M"."""
    if abs(value) >= _MILLION:
        return f"{digits(value / _MILLION)} M"
    return f"{value:,.0f}" if abs(value) >= _HUNDREDS else digits(value)


def printable(text: object, *, most: int = 80) -> str:
    """Returns foreign text without control characters, escapes or changes of direction, cut to `most` characters.

    Unprintable characters become their codes, so that different names stay different.
    """
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape", "replace").decode() for one in str(text))
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."

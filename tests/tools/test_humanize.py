from __future__ import annotations

import pytest

from fanwise.tools.humanize import milliseconds, number, printable, size, span


@pytest.mark.parametrize(
    ("value_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1 KB"),
        (146_000, "146 KB"),
        (4_270_000, "4.27 MB"),
        (1_073_741_824, "1.07 GB"),
    ],
)
def test_sizes(value_bytes: int, text: str) -> None:
    """Decimal units, three digits."""
    assert size(value_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.000312, "0.31 ms"),
        (0.0427, "42.7 ms"),
        (23, "23 s"),
        (270, "4.5 min"),
        (9_000, "2.5 h"),
        (181_440, "2.1 d"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    """In the unit that fits."""
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (3.14159, "3.14"), (42, "42"), (20_454.4, "20,454"), (11_400_000, "11.4 M")]
)
def test_numbers(value: float, text: str) -> None:
    """Three digits of what is small, whole numbers of what is not, millions."""
    assert number(value) == text


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("news/de", "news/de"),
        ("grüße", "grüße"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\u202egnp.exe\u200b", "\\u202egnp.exe\\u200b"),
        ("\x9b31m", "\\x9b31m"),
        ("\ud800", "\\ud800"),
        (None, "None"),
    ],
)
def test_foreign_text_is_shown_and_not_obeyed(foreign: object, shown: str) -> None:
    """Neither escapes nor changes of direction nor lone surrogates reach a terminal; two names stay two."""
    assert printable(foreign) == shown
    assert shown.isprintable()


def test_foreign_text_is_short() -> None:
    """However long it was."""
    assert printable("x" * 200, most=10) == "xxxxxxx..."
    assert len(printable("\x00" * 200, most=30)) == 30


def test_latencies_have_one_unit() -> None:
    """With three digits at least."""
    assert [milliseconds(value) for value in (0.3123, 2, 12.44, 1204)] == ["0.312 ms", "2 ms", "12.4 ms", "1,204 ms"]

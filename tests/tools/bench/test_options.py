from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fanwise.tools.bench.errors import OptionError
from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.load.recording import Range
from fanwise.tools.bench.options import (
    check_file,
    check_plan,
    check_url,
    parse_pace_range,
    parse_seconds,
    parse_seconds_range,
    parse_share,
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5), ("5s", 5), ("0.5", 0.5), ("500ms", 0.5), ("2m", 120), ("1h", 3600)]
)
def test_times(text: str, seconds: float) -> None:
    """With their unit, or in seconds."""
    assert parse_seconds("--duration", text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-1", "5 days", "nan", "1e3"])
def test_bad_times(text: str) -> None:
    """Are told what would do."""
    with pytest.raises(OptionError, match=r"--duration is .*: it takes a time above 0: 5, 5s, 500ms"):
        parse_seconds("--duration", text)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("3s..20s", 3, 20),
        ("500ms..2s", 0.5, 2),
        ("3..20s", 3, 20),
        ("3..20m", 180, 1200),
        ("5", 5, 5),
        ("1 .. 2", 1, 2),
    ],
)
def test_ranges_of_times(text: str, low: float, high: float) -> None:
    """A first time without a unit has that of the second; one time stands for both."""
    assert parse_seconds_range("--pause", text) == Range(low, high)


@pytest.mark.parametrize("text", ["20s..3s", "0..1s", "3s..", "..3s", "3s...5s", "3s-20s", "soon", "", "1s..2s..3s"])
def test_bad_ranges_of_times(text: str) -> None:
    """Are told what would do."""
    with pytest.raises(
        OptionError, match=r"--pause is .*: it takes a time or two, above 0, the smaller first: 3s, 500"
    ):
        parse_seconds_range("--pause", text)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("4096", 4096, 4096), ("20k..2M", 20e3, 2e6), ("20..200k", 20e3, 200e3), ("1.5M", 1.5e6, 1.5e6)],
)
def test_ranges_of_bandwidths(text: str, low: float, high: float) -> None:
    """In bytes, thousands or millions of them a second."""
    assert parse_pace_range("--bandwidth", text) == Range(low, high)


@pytest.mark.parametrize("text", ["2M..20k", "0", "20kB", "20KiB", "20K", "fast", "1k..", "-1"])
def test_bad_ranges_of_bandwidths(text: str) -> None:
    """Are told what would do."""
    with pytest.raises(OptionError, match=r"--bandwidth is .*: it takes bytes a second, or two such numbers, the sma"):
        parse_pace_range("--bandwidth", text)


@pytest.mark.parametrize(
    ("text", "clients", "count"),
    [("5%", 1000, 50), ("1%", 20, 1), ("0%", 20, 0), ("0.5%", 1000, 5), ("7", 20, 7), ("0", 20, 0), ("100%", 9, 9)],
)
def test_shares(text: str, clients: int, count: int) -> None:
    """A share of something is at least one client."""
    assert parse_share("--slow", text, clients) == count


@pytest.mark.parametrize("text", ["101%", "21", "-1", "5 %", "x", "", "²"])
def test_bad_shares(text: str) -> None:
    """Are told what would do."""
    with pytest.raises(OptionError, match=r"--slow is .*: it takes a share like 5% or a number up to the 20 clients"):
        parse_share("--slow", text, 20)


def test_a_share_of_nobody() -> None:
    """Is a mistake, and not a share that is 0."""
    with pytest.raises(OptionError, match="up to the 0 slow and pausing clients"):
        parse_share("--resuming", "30%", 0, of="slow and pausing clients")
    assert parse_share("--resuming", "0%", 0) == 0


@pytest.mark.parametrize("url", ["http://h/", "wss://h/", "ws:///ws", "ws://h:99999/", "h:80", "ws://h/a b", "ws://ü/"])
def test_bad_urls(url: str) -> None:
    """Are told what would do."""
    with pytest.raises(OptionError, match="begins with ws://"):
        check_url(url, 1)


def test_several_channels_need_their_place() -> None:
    """Or all clients would listen to the same one."""
    assert check_url("ws://h/{channel}", 2)
    with pytest.raises(OptionError, match=r"\{channel\} in it, since there are 2 channels"):
        check_url("ws://h/", 2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"clients": 0}, "--workers is 1: it takes 1 to the 0 clients"),
        ({"clients": 10**7}, "--clients is 10000000: it takes 1 to"),
        ({"channels": 2000}, "--channels is 2000: it takes 1 to the 1000 clients"),
        ({"slow": 600, "stalled": 400}, "somebody has to be healthy"),
        ({"size_bytes": 41}, "--size is 41: it takes 42"),
        ({"size_bytes": 1 << 30}, "to 16777216 bytes"),
        ({"rate": 0.0}, "--rate is 0.0: it takes messages a second"),
        ({"rate": float("nan")}, "--rate is nan"),
        ({"burst_messages": -1}, "--burst is -1: it takes messages at once, up to 100,000"),
        ({"burst_messages": 10, "every_seconds": 1e-6}, "--every is 1e-06: it takes 1e-05 s or more"),
        ({"keys": 3}, "--keys is 3: it takes --dialect fanwise.v1 beside it"),
        ({"keys": -1, "dialect": "fanwise.v1"}, "--keys is -1: it takes 0 (no keys) to 1,000,000"),
        ({"slow": 2, "resuming": 1}, "--resuming is 1: it takes --dialect fanwise.v1 beside it"),
        ({"receive_buffer_bytes": 0}, "--receive-buffer is 0: it takes 1024 to"),
        ({"pausing": 1000}, "--slow, --stalled, --flapping and --pausing is 1000"),
        ({"window_messages": 0}, "--window is 0: it takes 1 to 65536"),
        ({"workers": 0}, "--workers is 0: it takes 1 to"),
        ({"slow_bytes_per_second": Range(1, 2)}, "--bandwidth is 1"),
        ({"server_pid": 0}, "--server-pid is 0"),
        ({"headers": ("X: a\r\nY: b",)}, "--header is"),
        ({"headers": ("no colon",)}, "a line like 'Authorization: Bearer KEY'"),
    ],
)
def test_bad_plans(changes: dict[str, Any], says: str) -> None:
    """The first wrong value is named, with what is allowed."""
    with pytest.raises(OptionError) as caught:
        check_plan(Plan(**{"url": "ws://h/", **changes}))
    assert says in str(caught.value)


def test_files_are_checked_before_the_run(tmp_path: Path) -> None:
    """A run takes minutes at times, and its figures should not be lost for a typing error."""
    assert check_file("--json", None) is None
    assert check_file("--json", str(tmp_path / "run.json"))
    for path in (tmp_path, tmp_path / "nowhere" / "run.json"):
        with pytest.raises(OptionError, match=r"--json is .*: it takes a file in a directory that exists"):
            check_file("--json", str(path))


def test_a_good_plan() -> None:
    """Is handed back."""
    plan = Plan(url="ws://h/", headers=("Authorization: Bearer x",))
    assert check_plan(plan) is plan

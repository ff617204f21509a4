from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fanwise.tools.bench.errors import OptionError
from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.options import check_file, check_plan, check_url, parse_seconds, parse_share


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
        ({"window_messages": 0}, "--window is 0: it takes 1 to 65536"),
        ({"workers": 0}, "--workers is 0: it takes 1 to"),
        ({"slow_bytes_per_second": 1}, "--slow-bytes is 1"),
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

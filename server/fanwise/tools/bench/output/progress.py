"""The progress of a run: a table with a progress bar on a terminal, a line a second elsewhere."""

from __future__ import annotations

from time import monotonic_ns
from typing import Protocol, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ...humanize import milliseconds, number, size
from ...load.behaviour import Behaviour
from ..run.results import Moment, Results

_LINE_NS = 1_000_000_000
_PHASES = {"connected": "connecting", "warm": "warming up", "drained": "measuring", "finished": "looking who is left"}
_BAR_WIDTH = 60


class ProgressDisplay(Protocol):
    """Shows progress between entering and leaving."""

    def __enter__(self) -> Self:
        """Begins."""

    def __exit__(self, *_: object) -> None:
        """Ends."""

    def progress(self, phase: str, score: Results) -> None:
        """Called four times a second."""


def make_progress(stream: TextIO, title: str) -> ProgressDisplay:
    """Returns a live table for a terminal, and lines for other streams."""
    console = Console(file=stream)
    return LiveTable(console, title) if console.is_terminal else Lines(stream, title)


def rows(phase: str, score: Results) -> list[tuple[str, str]]:
    """[(name, value)] of what is known now."""
    moment = score.moments[-1] if score.moments else Moment(0.0, 0, 0.0, 0.0, 0)
    width_seconds = moment.at_seconds - (score.moments[-2].at_seconds if len(score.moments) > 1 else 0.0)
    now = moment.deliveries / width_seconds if width_seconds > 0 else 0.0
    server = score.server
    memory = f", RSS {size(server.rss_peak_bytes)}" if server.rss_peak_bytes else ""
    clients = ", ".join(
        f"{count:,} {kind}" for kind, count in score.open_clients.items() if kind is not Behaviour.PUBLISHER
    )
    flaws = ", ".join(f"{times:,} {name}" for name, times in score.flaws.items() if name != "undelivered")
    return [
        ("phase", _PHASES[phase]),
        ("delivered", f"{number(now)}/s, {score.deliveries:,} in all"),
        ("latency now", f"p50 {milliseconds(moment.p50_ms)}, p99 {milliseconds(moment.p99_ms)}"),
        (
            "latency so far",
            f"p99 {milliseconds(score.quantile_ms('p99'))}, max {milliseconds(score.quantile_ms('max'))}",
        ),
        ("clients", clients or "none yet"),
        ("dropped", f"{score.dropped():,}"),
        ("flaws", flaws or "none"),
        ("server", f"CPU {server.cpu_share_now:.0%}{memory}" if server.cpu_share_now is not None else "unknown"),
    ]


def share_done(score: Results, now_ns: int) -> float:
    """Returns the share of the measurement that is over, 0 to 1."""
    if not score.start_ns:
        return 0.0
    return min(max((now_ns - score.start_ns) / 1e9 / score.plan.duration_seconds, 0.0), 1.0)


class LiveTable:
    """A table with a progress bar, at one place of the terminal; erased after the run."""

    def __init__(self, console: Console, title: str) -> None:
        self._title = title
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def progress(self, phase: str, score: Results) -> None:
        """Draws the table anew."""
        table = Table(title=Text(self._title), show_header=False, title_justify="left")
        for name, value in rows(phase, score):
            table.add_row(Text(name), Text(value))  # Text: what a server says is not markup
        bar = ProgressBar(total=1.0, completed=share_done(score, monotonic_ns()), width=_BAR_WIDTH)
        self._live.update(Group(table, bar), refresh=True)


class Lines:
    """A line a second, for logs and pipes."""

    def __init__(self, stream: TextIO, title: str) -> None:
        self._stream = stream
        self._title = title
        self._next_ns = 0

    def __enter__(self) -> Self:
        self._say(self._title)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def progress(self, phase: str, score: Results) -> None:
        """Prints a line if the last one is a second old."""
        now_ns = monotonic_ns()
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + _LINE_NS
        told = dict(rows(phase, score))
        if phase == "drained":
            done = f"{share_done(score, now_ns):4.0%}"
            self._say(f"  {done}  {told['delivered']}; {told['latency now']}; dropped {told['dropped']}")
        else:
            self._say(f"  {told['phase']}: {told['clients']}")

    def _say(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

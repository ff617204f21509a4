from __future__ import annotations

import io

from rich.console import Console

from fanwise.tools.bench.output.progress import Lines, LiveTable, make_progress, rows, share_done
from fanwise.tools.load.behaviour import Behaviour

from ....support.bench import START_NS, dropped, score


def test_elsewhere_it_is_lines() -> None:
    """A file or a pipe gets plain text, at most one line a second."""
    stream = io.StringIO()
    with make_progress(stream, "Fanwise: 10 clients") as display:
        assert isinstance(display, Lines)
        for _ in range(10):
            display.progress("drained", score())
    told = stream.getvalue().splitlines()
    assert told[0] == "Fanwise: 10 clients"
    assert len(told) == 2
    assert "1,000/s" in told[1]
    assert "\x1b" not in stream.getvalue()


def test_on_a_terminal_it_is_a_table() -> None:
    """With a bar; and what a server says is shown, not obeyed."""
    stream = io.StringIO()
    with LiveTable(Console(file=stream, force_terminal=True, width=100), "[bold]name") as table:
        table.progress("drained", score())
    assert "[bold]name" in stream.getvalue()
    assert "latency so far" in stream.getvalue()
    assert "━" in stream.getvalue()


def test_rows() -> None:
    """They tell what is known."""
    told = dict(
        rows(
            "drained", score(open_clients={Behaviour.HEALTHY: 990, Behaviour.PUBLISHER: 1}, **dropped("4009", times=10))
        )
    )
    assert told["clients"] == "990 healthy"
    assert told["dropped"] == "10"
    assert told["flaws"] == "none"
    assert told["server"] == "unknown"


def test_the_bar() -> None:
    """From nothing to all."""
    made = score()
    assert [share_done(made, START_NS + second * 10**9) for second in (-1, 0, 1, 5, 9)] == [0, 0, 0.2, 1, 1]

"""The table of planted changes, and of the gates that have caught them: benchmarks/PLANTED.md."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .trees import ROOT

BENCHMARKS = "pytest-benchmark"
GATES = ("instructions", BENCHMARKS, "memory", "calls", "latency", "wakeups")
PATH = ROOT / "benchmarks" / "PLANTED.md"

_HEAD = """# Planted changes, and which gate catches them

`tox -e planted -- --write` plants each change in a copy of the server, has the gates that may see it compare the copy
with the server as it is, and writes this page.

{looked} of {known} planted changes were looked at, and {count} of those were caught, {new} of them new (bold): somebody
has thought of those who has not made the gates.{unchanged}

A cell has what has grown most of all that a gate has caught. It is empty where the gate was not asked. The instruction
gate looks at the scenario that is there for the change, or at two for each room of the server that it touches.
`pytest-benchmark` is its plain command, `--benchmark-compare-fail=mean:10%`, with some quick benchmarks of those rooms.

"""


class Result(NamedTuple):
    """What a gate has said of one planted change.

    Attributes:
        name: The change's; UNCHANGED for none.
        new: Whether somebody has thought of it who has not made the gates.
        gate: One of GATES.
        caught: What has grown most, and by how much; empty if nothing has.
    """

    name: str
    new: bool
    gate: str
    caught: str


UNCHANGED = "nothing"


def row(results: list[Result]) -> str:
    """Returns the line of one change."""
    name = f"**{results[0].name}**" if results[0].new else results[0].name
    said = {result.gate: result.caught.replace("->", "to") or "no" for result in results}
    return f"| {' | '.join([name, *(said.get(gate, '') for gate in GATES)])} |"


def page(results: list[Result], known: int) -> str:
    """Returns the page; `known` is the number of all planted changes."""
    rows = {one.name: [other for other in results if other.name == one.name] for one in results}
    caught = {result.name: result.new for result in results if result.caught}
    clean = " A copy in which nothing was planted is caught by none." if UNCHANGED not in caught else ""
    planted = [name for name in rows if name != UNCHANGED]
    head = _HEAD.format(
        count=sum(name in caught for name in planted),
        looked=len(planted),
        known=known,
        new=sum(caught.values()),
        unchanged=clean if UNCHANGED in rows else "",
    )
    lines = [f"| planted | {' | '.join(GATES)} |", f"|---|{'---|' * len(GATES)}"]
    return head + "\n".join([*lines, *map(row, rows.values())]) + "\n"


def write_table(results: list[Result], known: int, path: Path = PATH) -> None:
    """Writes the page."""
    path.write_text(page(results, known))

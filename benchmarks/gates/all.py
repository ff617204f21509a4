"""All gates on this tree, one after the other, and which of them has caught something.

    python -m benchmarks.gates.all [--against REV] [--json] [GATE ...]

REV is what git knows, or a folder with another tree. By default it is the commit at which this branch has left the
trunk. The exit status is 0 if no gate has caught anything, 1 if one has, and 2 if one could not look.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from .instructions import say
from .trees import ROOT, RevisionError, default_revision

WORDS = {0: "passed", 1: "CAUGHT"}
CAUGHT = ("MORE", "SLOWER")  # the last word of a line about what is worse
REVISION = "REV"


class Gate(NamedTuple):
    """A gate: its name, and its command without the interpreter, with REVISION where the revision stands."""

    name: str
    command: tuple[str, ...]


GATES = (
    Gate("memory", ("exact", "memory", "--against", REVISION)),
    Gate("calls", ("exact", "calls", "--against", REVISION)),
    Gate("latency", ("exact", "latency", "--against", REVISION)),
    Gate("wakeups", ("exact", "wakeups", "--against", REVISION)),
    Gate("ratio", ("ratio",)),
    Gate("instructions", ("instructions", "--against", REVISION)),
    Gate("A/B", ("compare", REVISION)),
)


class Look(NamedTuple):
    """What a gate has said.

    Attributes:
        gate: Its name.
        status: 0: nothing was caught; 1: something was; all else: it could not look.
        seconds: How long it took.
        caught: The lines about what is worse.
    """

    gate: str
    status: int
    seconds: float
    caught: list[str]

    def __str__(self) -> str:
        word = WORDS.get(self.status, "COULD NOT LOOK")
        return "\n".join([f"{self.gate:14} {self.seconds:6.0f} s  {word}", *(f"    {line}" for line in self.caught)])


def run(gate: Gate, revision: str, scenarios: Sequence[str] = ()) -> Look:
    """Runs the gate on this tree; with some of its scenarios, if any are named."""
    module, *arguments = [revision if word == REVISION else word for word in gate.command]
    command = [sys.executable, "-m", f"benchmarks.gates.{module}", *arguments, *scenarios]
    begin = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return Look(gate.name, done.returncode, time.monotonic() - begin, worse(done.stdout, done.stderr, done.returncode))


def worse(said: str, errors: str, status: int) -> list[str]:
    """The lines about what is worse, or all about why the gate could not look."""
    lines = said.splitlines()
    if status == 1:
        of_figures = [line for line in lines if line.split()[-1:] and line.split()[-1] in CAUGHT]
        return of_figures or [line for line in lines if line.startswith("FAILED")]
    return [*lines, *errors.splitlines()][-5:] if status else []


def report(looks: list[Look]) -> int:
    """Prints the last line; returns the exit status."""
    caught = [look.gate for look in looks if look.status == 1]
    blind = [look.gate for look in looks if look.status not in WORDS]
    seconds = sum(look.seconds for look in looks)
    if blind:
        say(f"FAILED: {', '.join(blind)} could not look ({seconds:.0f} s).")
    elif not caught:
        say(f"passed: none of {len(looks)} gates has caught anything ({seconds:.0f} s).")
    if caught:
        say(f"FAILED: caught by {', '.join(caught)} ({seconds:.0f} s).")
    return 1 if caught else 2 if blind else 0


def main() -> int:
    """The command line."""
    names = [gate.name for gate in GATES]
    parser = argparse.ArgumentParser(prog="bench-gates", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="GATE", help=f"of {', '.join(names)}; by default all")
    parser.add_argument("--against", metavar="REV", help="by default where this branch has left the trunk")
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each gate")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in names]
    if unknown:
        parser.error(f"no gate is called {', '.join(unknown)}: there are {', '.join(names)}")
    try:
        revision = asked.against or default_revision()
    except RevisionError as error:
        say(f"FAILED: {error}")
        return 2
    looks = []
    for gate in GATES:
        if not asked.names or gate.name in asked.names:
            looks.append(run(gate, revision))
            say(json.dumps(looks[-1]._asdict()) if asked.json else str(looks[-1]))
    return report(looks)


if __name__ == "__main__":
    sys.exit(main())

"""The history of what the gates count: one file a month, and a page that draws them.

    python -m benchmarks.gates.history record [REV ...]
    python -m benchmarks.gates.history page [FILE]

`record` counts the latest commit, or the commits that are named, and appends a line of JSON for each to the file of
the month: `benchmarks/history/2026-11.jsonl`. Counts depend on the build of the interpreter and on libraries. A line
names them (`instructions.facts_here`), and the page compares only lines with the same facts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from . import history_page, instructions, ratio
from .exact.__main__ import PARTS
from .exact.figures import CountError, count
from .instructions import CountingError, facts_here, say
from .skipping import SkippedError
from .trees import ROOT, RevisionError, check_out, environment, git

FOLDER = ROOT / "benchmarks" / "history"
PAGE = "bench-history.html"


class Line(NamedTuple):
    """What was counted of one commit.

    Attributes:
        commit: Its hash.
        time: Of the commit, in ISO 8601.
        subject: The first line of its message.
        facts: What the counts depend on, and what that was.
        figures: {group: {figure: value}}.
    """

    commit: str
    time: str
    subject: str
    facts: dict[str, str]
    figures: dict[str, dict[str, float]]


def measure(root: Path) -> dict[str, dict[str, float]]:
    """All figures of the server in `root`. Raises CountingError or CountError if it cannot be counted."""
    figures: dict[str, dict[str, float]] = {"instructions": dict(instructions.count(root, []))}
    for part in PARTS:
        figures[part.name] = count(part, root)
    command = [sys.executable, "-m", ratio.__name__, "--json"]
    done = subprocess.run(command, cwd=root, env=environment(root), capture_output=True, text=True, check=False)
    if not done.stdout:
        raise CountError("ratio", done.stderr)
    figures["ratio"] = json.loads(done.stdout.splitlines()[-1])
    return figures


def record(revision: str, folder: Path = FOLDER) -> Path:
    """Counts a commit, and appends its line; returns the file. Raises what `measure` raises, and RevisionError."""
    commit, time, subject = git("log", "-1", "--format=%H%n%cI%n%s", revision).split("\n")
    with tempfile.TemporaryDirectory() as directory:
        figures = measure(check_out(commit, Path(directory, "tree")))
    return append(Line(commit, time, subject, facts_here(), figures), folder)


def append(line: Line, folder: Path) -> Path:
    """Appends a line to the file of its commit's month (UTC); returns the file."""
    month = datetime.fromisoformat(line.time).astimezone(UTC).strftime("%Y-%m")
    path = folder / f"{month}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line._asdict(), ensure_ascii=False) + "\n")
    return path


def read(folder: Path = FOLDER) -> list[Line]:
    """All lines, by the time of their commits; of a commit that was counted twice with the same facts, the later one.

    Raises:
        ValueError: A line is not one of ours; the message names file and line.
    """
    found: dict[tuple[str, str], Line] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, text in enumerate(path.read_text().splitlines(), 1):
            try:
                line = Line(**json.loads(text))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            found[line.commit, json.dumps(line.facts, sort_keys=True)] = line
    return sorted(found.values(), key=lambda line: datetime.fromisoformat(line.time))


def series(lines: list[Line]) -> list[history_page.Series]:
    """One for each figure, in the order of the newest line's groups."""
    names: dict[tuple[str, str], None] = {}
    for line in reversed(lines):
        names |= {(group, name): None for group, figures in line.figures.items() for name in figures}
    return [
        history_page.Series(
            group,
            name,
            [
                history_page.Point(line.commit, line.time, line.subject, line.figures[group][name], _build(line.facts))
                for line in lines
                if name in line.figures.get(group, {})
            ],
        )
        for group, name in names
    ]


def _build(facts: dict[str, Any]) -> str:
    return ", ".join(f"{fact} {value}" for fact, value in facts.items())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench-history", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="count commits, and append a line for each")
    recording.add_argument("revisions", nargs="*", metavar="REV", default=["HEAD"], help="by default HEAD")
    page = commands.add_parser("page", help="draw the history")
    page.add_argument("file", nargs="?", metavar="FILE", type=Path, default=Path(PAGE), help=f"by default {PAGE}")
    asked = parser.parse_args()
    try:
        if asked.command == "page":
            lines = read()
            asked.file.write_text(history_page.draw(series(lines)))
            say(f"{asked.file}: {len(lines)} commits.")
            return 0
        for revision in asked.revisions:
            say(f"{record(revision).relative_to(ROOT)}: {revision}")
    except (CountError, CountingError, RevisionError, SkippedError, ValueError) as error:
        say(f"FAILED: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The exact gate: what can be counted to the last one, in this tree and in a revision, side by side.

    python -m benchmarks.gates.exact [--against REV] [PART ...]

Parts: memory (bytes per connection), calls (system calls per delivery), latency (turns of the event loop), and wakeups
(of an idle server). More than the revision has, beyond the part's tolerance, fails.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.gates.skipping import SkippedError, check_skip
from benchmarks.gates.trees import RevisionError, Trees, default_revision, trees

from .figures import CountError, Figures, Part, Verdict, count, judge

PARTS = (
    Part("memory", "bytes", share=0.01, most=64),
    Part("calls", "system calls", share=0.02, most=0.1),
    Part("latency", "turns and milliseconds", share=0, most=0.001),
    Part("wakeups", "per second", share=0, most=0.5),
)


def say(text: str) -> None:
    """A line for whoever runs the gate."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def count_both(part: Part, both: Trees) -> tuple[Figures, Figures]:
    """The figures of both trees, at the same time. Raises CountError if this one cannot be counted."""
    with ThreadPoolExecutor() as pool:
        was, counted = pool.submit(count, part, both.old), pool.submit(count, part, both.new)
        new = counted.result()
        try:
            return was.result(), new
        except CountError as error:
            say(f"{part.name}: not compared, the revision cannot be counted:\n{error.said}")
            return {}, new


def look(parts: list[Part], both: Trees) -> list[Verdict]:
    """A verdict for each figure of the parts; what has grown is counted once more, and the lesser count stands."""
    verdicts = []
    for part in parts:
        found = judge(part, *count_both(part, both))
        if any(verdict.failed for verdict in found):
            again = {verdict.name: verdict for verdict in judge(part, *count_both(part, both))}
            found = [again.get(one.name, one) if one.failed else one for one in found]
        verdicts += found
    return verdicts


def report(verdicts: list[Verdict], revision: str) -> int:
    """Prints the verdicts; returns the exit status."""
    say(f"{'':44} {revision[:12]:>12} {'this tree':>12}")
    for verdict in verdicts:
        say(str(verdict))
    failed = [verdict.name for verdict in verdicts if verdict.failed]
    if failed:
        say(f"FAILED: {len(failed)} of {len(verdicts)} are more than {revision} has: {', '.join(failed)}.")
    else:
        say(f"passed: none of {len(verdicts)} is more than {revision} has.")
    return int(bool(failed))


def countable(parts: list[Part]) -> list[Part]:
    """The parts that can be counted here. Raises SkippedError if one cannot, and that was not asked for."""
    if shutil.which("strace") is None and any(part.name == "calls" for part in parts):
        check_skip("calls: strace is not installed, and nothing else counts a server's system calls")
        return [part for part in parts if part.name != "calls"]
    return parts


def main() -> int:
    """The command line."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="bench-exact", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="PART", help=f"of {', '.join(names)}; by default all")
    parser.add_argument("--against", metavar="REV", help="by default where this branch has left the trunk")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in names]
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}: there are {', '.join(names)}")
    try:
        revision = asked.against or default_revision()
        parts = countable([part for part in PARTS if not asked.names or part.name in asked.names])
        with tempfile.TemporaryDirectory() as directory:
            return report(look(parts, trees(revision, Path(directory))), revision)
    except (CountError, RevisionError, SkippedError) as error:
        say(f"FAILED: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())

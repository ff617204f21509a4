"""Runs a target under atheris, which looks for inputs that reach new lines: `python -m tests.fuzz.guided TARGET`.

The corpus of the target is where it begins; what it finds goes to the folder that `--keep` names, else nowhere.
What breaks a target is printed, and written to `crash-...` there.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fanwise", "websockets"]):
    from .targets import LIVE, PURE
    from .world import World

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("target", choices=[*PURE, *LIVE])
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="default: a folder that is removed")
    asked = parser.parse_args()
    with World() as world, tempfile.TemporaryDirectory() as removed:
        kept = asked.keep or Path(removed)
        kept.mkdir(exist_ok=True)
        options = [f"-max_total_time={asked.seconds}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=1024"]
        options += [f"-artifact_prefix={kept}{os.sep}", str(kept), str(CORPUS / asked.target)]
        pure = PURE.get(asked.target)
        atheris.Setup([sys.argv[0], *options], pure or (lambda data: LIVE[asked.target](data, world)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Faults on a real engine, and the invariants: `python -m tests.backplane.checker --help`."""

from __future__ import annotations

import argparse
import logging
import sys

from .faults import FAULTS
from .mutants import MUTANTS
from .rounds import run_faults, run_mutants


def main() -> int:
    """Returns the exit status: 0 if all invariants have held, or all mutants were caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.backplane.checker", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}; all by default")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is run")
    parser.add_argument("--jobs", type=int, default=6, help="how many are run at a time")
    parser.add_argument("--brief", action="store_true", help="about a second each")
    parser.add_argument("--seed", type=int, help="of what is drawn, for the first round; else another one each time")
    parser.add_argument("--mutants", action="store_true", help=f"instead: {', '.join(MUTANTS)}, which must be caught")
    parser.add_argument("--verbose", action="store_true", help="with what the servers log")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO if chosen.verbose else logging.CRITICAL + 1)
    known = MUTANTS if chosen.mutants else FAULTS
    names = chosen.names or list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    if chosen.mutants:
        good = run_mutants(names, rounds=chosen.rounds, brief=chosen.brief)
    else:
        good = run_faults(names, rounds=chosen.rounds, jobs=chosen.jobs, brief=chosen.brief, seed=chosen.seed)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

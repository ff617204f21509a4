"""EventLog that this process is one of several uvicorn workers, none of which can reach the clients of the others."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache

from ..logs.events import Event, log


def worker_count(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """How many workers the command line (`--workers N`) or the environment ask uvicorn for; 1 when they do not."""
    asked = environ.get("UVICORN_WORKERS") or environ.get("WEB_CONCURRENCY") or "1"
    for place, word in enumerate(argv):
        if word == "--workers" and place + 1 < len(argv):
            asked = argv[place + 1]
        elif word.startswith("--workers="):
            asked = word.partition("=")[2]
    return int(asked) if asked.isdecimal() else 1


@cache
def warn_of_other_workers() -> None:
    """Logs an error, at its first call, when this is a worker process among others.

    uvicorn spawns its workers with their parent's arguments, so a worker sees `--workers` as the parent did.
    """
    count = worker_count(sys.argv, os.environ)
    if count > 1 and multiprocessing.parent_process() is not None:
        log(Event.WORKERS, workers=count)

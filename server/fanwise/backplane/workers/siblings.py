"""Finds out whether a process is one of several that another program has started, and that do not know of each other.

uvicorn's flags and variables say so at once. Others are found by what they do: they have the parent of this process and
listen on its port. That holds for gunicorn, granian and hypercorn, and for what calls `uvicorn.run(workers=2)`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ...logs.events import Event, log

LOOK_SECONDS: Final = 2.0  # after the start of the application: servers listen then, and so do siblings
_PROC: Final = Path("/proc")
_WARNED: Final[set[int]] = set()  # processes: a fork has not said it
_LOW: Final = 128  # descriptors of a process that are looked at
_LISTENS: Final = "0A"  # TCP_LISTEN in /proc/net/tcp (proc_net_tcp in the kernel's documentation)


@contextmanager
def noticed_siblings() -> Iterator[None]:
    """Logs an error, once per process, when this is one of several workers: at once, or a moment after the start."""
    count = worker_count(sys.argv, os.environ)
    if count > 1 and multiprocessing.parent_process() is not None:
        _warn(count)
    loop = asyncio.get_running_loop()
    timer = loop.call_later(LOOK_SECONDS, lambda: loop.run_in_executor(None, _look))
    try:
        yield
    finally:
        timer.cancel()


def worker_count(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Returns the number of workers that `--workers N` or the environment ask uvicorn for; 1 by default.

    uvicorn spawns its workers with their parent's arguments, so a worker sees `--workers` as the parent did.
    """
    asked = environ.get("UVICORN_WORKERS") or environ.get("WEB_CONCURRENCY") or "1"
    for place, word in enumerate(argv):
        if word == "--workers" and place + 1 < len(argv):
            asked = argv[place + 1]
        elif word.startswith("--workers="):
            asked = word.partition("=")[2]
    return int(asked) if asked.isdecimal() else 1


def listening_siblings() -> int:
    """Returns how many processes with the parent of this one listen on a port of this one, this one among them.

    Linux alone says that; returns 1 elsewhere.
    """
    siblings = [process for process in _processes_of(os.getppid()) if process != os.getpid()]
    if not siblings:
        return 1
    ports = _listeners()
    own = {ports[inode] for inode in _sockets("self") if inode in ports}
    return 1 + sum(any(ports.get(inode) in own for inode in _sockets(str(process))) for process in siblings)


def _look() -> None:
    count = listening_siblings()
    if count > 1:
        _warn(count)


def _warn(count: int) -> None:
    """Logs the error, the first time in this process."""
    if os.getpid() not in _WARNED:
        _WARNED.add(os.getpid())
        log(Event.WORKERS, workers=count)


def _listeners() -> dict[str, str]:
    """Returns {inode: port in hexadecimal} of all TCP sockets that listen."""
    found = {}
    for name in ("tcp", "tcp6"):
        with suppress(OSError), (_PROC / "self" / "net" / name).open() as lines:
            next(lines, None)  # the names of the columns
            for line in lines:
                fields = line.split()
                if fields[3] != _LISTENS:  # the kernel names all that listen before the first connection
                    break
                found[fields[9]] = fields[1].rpartition(":")[2]
    return found


def _sockets(process: str) -> Iterator[str]:
    """The inodes of a process's sockets with low numbers, as those have that listen; none of somebody else's process.

    A thousand connections are not even listed: that would take the kernel a twentieth of a second.
    """
    for descriptor in range(_LOW):
        with suppress(OSError):
            kind, _, inode = os.readlink(f"{_PROC}/{process}/fd/{descriptor}").partition(":")  # noqa: PTH115
            if kind == "socket":
                yield inode.strip("[]")


def _processes_of(parent: int) -> Iterator[int]:
    """The processes that `parent` has started: as its threads list them (CONFIG_PROC_CHILDREN), or among all others."""
    lists = list(_PROC.glob(f"{parent}/task/*/children"))
    for path in lists:
        with suppress(OSError):
            yield from map(int, path.read_text().split())
    if lists:
        return
    for folder in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            _, _, rest = (folder / "stat").read_text().rpartition(")")  # the name before it may have any letters
            if int(rest.split()[1]) == parent:
                yield int(folder.name)

"""How sweeps reach sockets: through io_uring(7) where the kernel passes a probe, with write(2) everywhere else."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Final, Literal, TypeAlias

from ..broadcaster.sweep import BROKEN, OsWriter, SweepWriter, WriteToAll
from .uring import Ring

Mode: TypeAlias = Literal["auto", "write", "uring"]

_PROBE_BYTES: Final = 1_000
_BLOCK_BYTES: Final = 4_099  # a prime: no two pages have the same bytes; 4 MiB of os.urandom would take 14 ms
_LARGE_BLOCKS: Final = 1_024  # more than a socket pair holds
_DISABLED: Final = Path("/proc/sys/kernel/io_uring_disabled")


class RingWriter:
    """A `sweep.SweepWriter` that sends through a ring.

    Raises:
        OSError: The kernel has no ring to give, or one that fails the probe.
    """

    name = "io_uring"
    why = ""

    def __init__(self) -> None:
        ring = Ring()
        problem = probe(ring.write_to_all)
        if problem:
            ring.close()
            raise OSError(f"the kernel fails the probe: {problem}")
        self.write_to_all = ring.write_to_all
        self.close = ring.close


def open_writer(mode: Mode) -> SweepWriter:
    """Returns what sweeps write with. Under "auto", `why` says why that is not io_uring.

    Raises:
        OSError: The mode is "uring", and there is none.
    """
    if mode == "write":
        return OsWriter(why="by setting")
    if sys.platform != "linux":
        problem = "only Linux has io_uring"
    else:
        try:
            return RingWriter()
        except OSError as error:
            problem = _explain(error)
    if mode == "uring":
        raise OSError(f"io_uring cannot be used: {problem}")
    return OsWriter(why=problem)


def _explain(error: OSError) -> str:
    disabled = ""
    with contextlib.suppress(OSError):  # before Linux 6.6 there is no such file
        disabled = _DISABLED.read_text().strip()
    if disabled not in ("", "0"):
        return f"kernel.io_uring_disabled is {disabled}"
    return error.strerror or str(error)


def probe(write_to_all: WriteToAll) -> str:
    """Returns what a writer does wrong with idle, full, short and broken sockets; an empty text if nothing.

    A writer fails if it leaves a request pending on a full socket: it has no answer for that socket.
    """
    with contextlib.ExitStack() as stack:
        idle, full, broken, short = (_pair(stack) for _ in range(4))
        _fill(full[0])
        broken[1].close()
        data, large = os.urandom(_PROBE_BYTES), os.urandom(_BLOCK_BYTES) * _LARGE_BLOCKS
        fds = [pair[0].fileno() for pair in (idle, full, broken)]
        answers = dict(write_to_all(fds, data))
        if answers != {fds[1]: 0, fds[2]: BROKEN} or _drain(idle[1]) != data:
            return f"idle, full and broken sockets took {[answers.get(fd, len(data)) for fd in fds]} bytes"
        taken = dict(write_to_all([short[0].fileno()], large)).get(short[0].fileno(), len(large))
        if not 0 < taken < len(large) or _drain(short[1]) != large[:taken]:
            return f"a socket that has less room took {taken} of {len(large)} bytes"
    return ""


def _pair(stack: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair()
    for end in pair:
        end.setblocking(False)
        stack.enter_context(end)
    return pair


def _fill(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(65_536))


def _drain(sock: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(BlockingIOError):
        while part := sock.recv(1_048_576):
            parts.append(part)
    return b"".join(parts)

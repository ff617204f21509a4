"""Instructions of a stretch of this process, counted by valgrind, which the process has to run under.

Valgrind is told what to count by client requests: instructions that do nothing elsewhere (valgrind.h, callgrind.h).
Outside of the stretches nothing is instrumented, which is five times as fast.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROGRAM = f"{__package__}.counted"
FOLDER = "BENCH_CALLGRIND"  # set to where valgrind writes, in a process that runs under it
# The preamble of a client request on x86-64, with the address of the request in rdi: valgrind.h.
_REQUEST = bytes.fromhex("4889f8 4889f2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
_RUNNING, _DUMP, _ZERO, _START, _STOP = 0x1001, 0x43540000, 0x43540001, 0x43540004, 0x43540005
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def missing() -> str:
    """Returns why instructions cannot be counted on this machine; empty if they can."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return f"counting needs an x86-64, and this is {platform.machine()}"
    if shutil.which("valgrind") is None or shutil.which("setarch") is None:
        return "valgrind or setarch is not installed"
    return ""


def run(arguments: Sequence[str], folder: str) -> int:
    """Runs pytest under valgrind; returns its exit status. Addresses, hashes and clocks are those of every run."""
    out = f"--callgrind-out-file={folder}/%p"
    valgrind = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", "--compress-strings=yes", out]
    around = {**os.environ, FOLDER: folder, "PYTHONHASHSEED": "0"}
    return subprocess.call(["setarch", "-R", *valgrind, sys.executable, "-m", PROGRAM, *arguments], env=around)


class Counter:
    """Counts instructions in this process. Raises RuntimeError outside of valgrind."""

    def __init__(self) -> None:
        self._folder = Path(os.environ[FOLDER])
        self._code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._code.write(_REQUEST)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        made = ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64), ctypes.c_uint64)
        self._call: Callable[[Any, int], int] = made(address)
        if not self._ask(_RUNNING):
            raise RuntimeError("this process does not run under valgrind")

    def count(self, act: Callable[[], object]) -> int:
        """Calls `act`; returns the instructions that this took."""
        self._ask(_START)
        self._ask(_ZERO)
        try:
            act()
            self._ask(_DUMP)
        finally:
            self._ask(_STOP)
        return self._read()

    def _ask(self, request: int) -> int:
        return self._call((ctypes.c_uint64 * 6)(request), 0)

    def _read(self) -> int:
        """Returns the total of the one dump there is, and removes it."""
        (path,) = self._folder.glob(f"{os.getpid()}.*")
        found = _TOTAL.search(path.read_text())
        path.unlink()
        if found is None:
            raise RuntimeError(f"valgrind has written no total to {path}")
        return int(found[1])

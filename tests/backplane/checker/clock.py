"""An engine whose clock can be set: a library that is loaded before it answers what the time is."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long *ahead(void) {
    static const volatile long *place;
    static const long none = 0;
    if (!place) {
        int file = open(getenv("CHECKER_CLOCK"), O_RDONLY);
        void *found = file < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
        place = found == MAP_FAILED ? &none : found;
    }
    return place;
}
int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, id, now);
    if (id == CLOCK_REALTIME) now->tv_sec += *ahead();
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    int failed = clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return failed;
}
time_t time(time_t *place) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (place) *place = found.tv_sec;
    return found.tv_sec;
}
"""


class Clock:
    """The clock of the engines that are started with `environ`."""

    def __init__(self, folder: Path) -> None:
        source, library = folder / "clock.c", folder / "clock.so"
        self._place = folder / "clock"
        self.set(ahead_seconds=0)
        source.write_text(_SOURCE)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-w", "-o", library, source], check=True)
        self.environ = f"CHECKER_CLOCK={self._place} LD_PRELOAD={library}"

    def set(self, *, ahead_seconds: int) -> None:
        """Sets it, before or behind the time of this machine."""
        with self._place.open("r+b" if self._place.exists() else "wb") as file:
            file.write(struct.pack("=q", ahead_seconds))


def can_set_clocks() -> bool:
    """Whether there is a C compiler."""
    return shutil.which("cc") is not None

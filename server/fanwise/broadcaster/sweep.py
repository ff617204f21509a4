"""Sweeps: once per turn of the event loop, what was appended since the last one goes to every ready client.

A sweep makes one slice of bytes and writes the slice to each file descriptor: no object of a client is touched, no
attribute is set, no task is woken. A sweep gives the loop back every few milliseconds, between two waves of cohorts. In
the next turn the sweep goes on with the clients that are ready then: no file descriptor is kept over a turn. Where the
kernel has io_uring, `transport/uring` makes the system calls.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import Callable, Collection
from itertools import chain
from os import write as os_write
from typing import Protocol, TypeAlias

from ..core.channel import Channel
from ..core.counters import Counters
from ..core.group import Cohort, ReadyGroup
from ..core.reasons import CloseReason

# In place of the number of bytes taken: the socket answered with an error; the kernel has given the peer up.
BROKEN, TIMED_OUT = -1, -2
# A wave: the clients that a sweep writes to between two looks at the clock, in one call of its writer. It is one cohort
# if several would get more bytes than that.
WAVE_CLIENTS, WAVE_BYTES = 512, 4_194_304
_SAMPLE = 8  # descriptors of a wave that are looked at before each write, in the event loop's debug mode


def write_to_all(fds: Collection[int], data: bytes) -> list[tuple[int, int]]:
    """Writes `data` to each non-blocking descriptor once; returns (fd, bytes taken) for those that did not take it all.

    O(descriptors), and nothing else: this loop is the hot path (`benchmarks/test_sweep.py`).
    """
    short = []
    size = len(data)
    write = os_write
    for fd in fds:
        try:
            taken = write(fd, data)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            taken = TIMED_OUT if isinstance(error, TimeoutError) else BROKEN
        if taken != size:
            short.append((fd, taken))
    return short


_ONE_BY_ONE = write_to_all
WriteToAll: TypeAlias = Callable[[Collection[int], bytes], list[tuple[int, int]]]


class SweepWriter(Protocol):
    """Writes slices to sockets.

    Attributes:
        name: Of the system call that carries the bytes.
        why: Why no faster way is in use; empty if this is the fastest.
    """

    name: str
    why: str

    def write_to_all(self, fds: Collection[int], data: bytes) -> list[tuple[int, int]]:
        """Writes `data` to each descriptor once; returns (fd, bytes taken) for those that did not take it all."""

    def close(self) -> None:
        """Frees the resources of the writer. Idempotent."""


class OsWriter:
    """A `SweepWriter` that takes a system call per socket: write(2)."""

    name = "write"

    def __init__(self, *, why: str = "") -> None:
        self.why = why
        self.write_to_all = write_to_all

    def close(self) -> None:
        """Frees nothing: write(2) needs no resources."""


class Sweeper:
    """Runs the sweeps of all channels. Owns the invariant that a channel with unswept publications is scheduled.

    Sweeps compare sockets with their leases in the event loop's debug mode.

    Args:
        loop: The event loop of all clients.
        slice_bytes: About how much payload one write carries.
        sweep_seconds: How long a sweep may hold the loop; exceeded by at most one wave.
        write_to_all: Writes a slice to descriptors, as `SweepWriter.write_to_all` does.
        tally: The counters.
        clock: Seconds, on the clock of publications' times.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        slice_bytes: int,
        sweep_seconds: float,
        write_to_all: WriteToAll = write_to_all,
        tally: Counters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._slice_bytes = slice_bytes
        self._sweep_seconds = sweep_seconds
        self._write_to_all = write_to_all
        self._waves = write_to_all is not _ONE_BY_ONE  # with write(2) there is a system call for each client anyway
        self._tally = tally or Counters()
        self._clock = clock
        self._debug = loop.get_debug()
        self._due: dict[Channel, int] = {}  # {channel: offset up to which its sweep goes, 0 before it has begun}
        self._scheduled = False
        self._waiters: dict[Channel, asyncio.Future[None]] = {}  # {channel: done at the end of its sweep}

    def schedule(self, channel: Channel) -> None:
        """Schedules the channel's sweep, from the next turn of the loop on. O(1)."""
        if channel not in self._due:
            self._due[channel] = 0
            if not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self._run)

    def is_due(self, channel: Channel) -> bool:
        """Whether a sweep of the channel is scheduled, or goes on in the next turn."""
        return channel in self._due

    def flush(self, channel: Channel) -> None:
        """Sweeps the channel to its head here and now, however long that takes. O(its clients)."""
        while channel.unswept:
            self._sweep(channel, channel.log.head, deadline=math.inf, continued=False)

    async def swept(self, channel: Channel) -> None:
        """Waits for the end of the channel's due sweep; for one turn of the loop if no sweep is due."""
        if channel not in self._due:
            return await asyncio.sleep(0)
        waiter = self._waiters.get(channel)
        if waiter is None:
            waiter = self._waiters[channel] = self._loop.create_future()
        return await asyncio.shield(waiter)  # others wait for it too: a cancelled one must not cancel it

    def _run(self) -> None:
        """One turn's work: the due channels one after the other, until all are swept or the time is up."""
        self._scheduled = False
        begin = self._clock()
        try:
            self._sweep_due(begin + self._sweep_seconds)
        finally:
            self._tally.sweep.observe(self._clock() - begin)
            if self._due:
                self._scheduled = True
                self._loop.call_soon(self._run)

    def _sweep_due(self, deadline: float) -> None:
        for channel, begun in list(self._due.items()):
            until = begun or channel.log.head  # fixed while it lasts: all cohorts end at the same cursor
            del self._due[channel]
            if not self._sweep(channel, until, deadline, continued=begun > 0):
                self._due[channel] = until  # goes on after the others
                break
            if channel.unswept:
                self._due[channel] = 0
            waiter = self._waiters.pop(channel, None)
            if waiter is not None:
                waiter.set_result(None)

    def _sweep(self, channel: Channel, until: int, deadline: float, *, continued: bool) -> bool:
        """Writes the publications up to offset `until` to all ready clients; False if the time was up before."""
        now = self._clock() if continued else 0.0  # of the latest write
        if channel.sleepers:
            for wake in list(channel.sleepers.values()):
                wake()
        for group in channel.groups.values():
            for cohort in group.due():
                while cohort.cursor < until and len(cohort):
                    now = self._write_slice(channel, group, cohort, until)
                    if now >= deadline:
                        return False
            group.tidy()
        if now and channel.unswept:
            self._tally.last_socket.observe(now - channel.log.time_at(channel.swept + 1))
        channel.mark_swept(until)
        return True

    def _write_slice(self, channel: Channel, group: ReadyGroup, cohort: Cohort, until: int) -> float:
        """Writes the next slice to a cohort and to others that need it, too; returns when that was done."""
        part = group.slice_after(cohort.cursor, until=until, max_bytes=self._slice_bytes)
        size, members, wave = len(part.data), len(cohort), [cohort]
        if not size:  # the cohort's filter lets nothing through
            cohort.cursor = part.after
            return self._clock()
        fds: Collection[int] = cohort.by_fd
        if self._waves and members < len(group):
            wave = group.wave(cohort, at_most=min(WAVE_CLIENTS, WAVE_BYTES // (size + 1)))
        if self._debug:
            self._check_leases(wave)
        if len(wave) > 1:
            fds = list(chain.from_iterable([one.by_fd for one in wave]))
            members = len(fds)
        for one in wave:
            one.cursor = part.after  # first: a client that leaves from here on has been given the slice
        given, sent = members * part.messages, members * size
        for fd, taken in self._write_to_all(fds, part.data):
            queue, member = next(one.by_fd[fd] for one in wave if fd in one.by_fd)
            if taken < 0:
                cursor, left, missing = part.before, size, part.messages
                member.broken(queue, cursor, CloseReason.STALLED if taken == TIMED_OUT else CloseReason.LOST)
            else:
                cursor, rest, missing = group.cut(part, taken)
                left = size - taken - len(rest)
                member.fall_behind(queue, cursor, rest)
            given -= missing
            sent -= left
        for member in list(cohort.by_queue.values()):  # a copy: a client that the write pauses leaves during it
            member.write(part.data)
        now = self._clock()
        tally = self._tally
        channel.deliveries += given
        tally.deliveries += given
        tally.delivered_bytes += sent
        tally.ready_age.observe(now - part.time, given)
        return now

    def _check_leases(self, wave: list[Cohort]) -> None:
        """Compares the sockets behind some descriptors with those that were leased; one that differs is let go."""
        fds = [(cohort, fd) for cohort in wave for fd in cohort.by_fd]
        for cohort, fd in random.sample(fds, min(_SAMPLE, len(fds))):
            queue, member = cohort.by_fd[fd]
            lease = member.lease
            if lease is None or lease.ended or _inode(fd) != lease.identity:
                self._loop.call_exception_handler({"message": f"descriptor {fd} is not the socket that was leased"})
                member.broken(queue, cohort.cursor, CloseReason.INTERNAL)


def _inode(fd: int) -> int | None:
    """Returns the inode of the socket behind a number (fstat(2)); None if there is none."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return None

"""How long publications take to clients that read, while others do what they do.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from .clients import TestingClient
from .watch import LoopWatch

_LOOK_SECONDS: Final = 0.005
_NUMBER: Final = re.compile(r"fanwise-probe-([0-9a-f]{8})-(\d{6})")


class Isolation(NamedTuple):
    """What was measured: `delays_ms` of the deliveries, sorted; each from when its publication was due.

    `expected` deliveries were to come, and `trouble` says why they did not; empty if they all did.
    """

    delays_ms: list[float]
    expected: int
    trouble: str
    loop_late_ms: float
    loop_place: str

    def quantile_ms(self, share: float) -> float:
        """Returns the delay that `share` (0 to 1) of the deliveries did not exceed; 0 without any."""
        return self.delays_ms[min(int(share * len(self.delays_ms)), len(self.delays_ms) - 1)] if self.delays_ms else 0.0

    @property
    def p99_ms(self) -> float:
        """The delay that 99 of 100 deliveries did not exceed."""
        return self.quantile_ms(0.99)


class Probe:
    """Publishes numbered texts at a pace, and times their way to clients that read.

    Args:
        publish: Publishes a text; called in this thread.
        readers: Clients that get all publications.
        watch: Of the server's event loop.
        size: Of a text, in bytes.
        per_second: Texts.
    """

    def __init__(
        self,
        publish: Callable[[str], object],
        readers: Sequence[TestingClient],
        watch: LoopWatch,
        *,
        size: int,
        per_second: float,
    ) -> None:
        self._publish = publish
        self._readers = readers
        self._watch = watch
        self._size = size
        self._interval = 1 / per_second
        self._run = os.urandom(4).hex()
        self._due: list[float] = []

    def measure(self, publications: int, *, within_seconds: float) -> Isolation:
        """Returns what was measured once all deliveries have come, or `within_seconds` after the last publication.

        Delays count from when a publication was due: a server that holds up the publisher is not excused by that.
        """
        trouble = self._publish_all(publications, within_seconds)
        deadline = time.perf_counter() + within_seconds
        while not trouble and not self._complete(publications):
            late = f"{within_seconds:g} s after the last one" if time.perf_counter() > deadline else ""
            trouble = self._ended() or (late and f"a reader got {self._least()} of {publications} publications {late}")
            self._sleep(time.perf_counter() + _LOOK_SECONDS)
        delays = sorted(1000 * delay for reader in self._readers for delay in self._delays(reader))
        expected = publications * len(self._readers)
        return Isolation(delays, expected, trouble, 1000 * self._watch.late_seconds, self._watch.place)

    def _publish_all(self, publications: int, within_seconds: float) -> str:
        """Publishes at its pace; returns what has kept it from that."""
        began = time.perf_counter()
        for number in range(publications):
            self._due.append(began + number * self._interval)
            self._sleep(self._due[-1])
            begun = time.perf_counter()
            try:
                self._publish(f"fanwise-probe-{self._run}-{number:06}".ljust(self._size, "x"))
            except OSError as error:  # a TimeoutError is one
                waited = time.perf_counter() - begun
                why = self._ended() or f"{type(error).__name__}: {error}".removesuffix(": ")
                return f"publication {number + 1} of {publications} was not taken within {waited:.1f} s: {why}"
            if time.perf_counter() - self._due[-1] > within_seconds:
                return f"publication {number + 1} of {publications} was taken more than {within_seconds:g} s late"
        return ""

    def _sleep(self, until: float) -> None:
        """Looks at the loop while there is time."""
        while (left := until - time.perf_counter()) > 0:
            self._watch.look()
            time.sleep(left)
        self._watch.look()

    def _ended(self) -> str:
        """Returns which reader's connection has ended, and how; empty if none has."""
        return next((f"{one}: {one.ending}" for one in self._readers if one.ended), "")

    def _least(self) -> int:
        """Returns how many publications the reader has got that has the fewest."""
        return min(len(self._delays(reader)) for reader in self._readers)

    def _complete(self, publications: int) -> bool:
        return self._least() >= publications

    def _delays(self, reader: TestingClient) -> list[float]:
        """Returns how long each publication took to a reader, in seconds."""
        delays = []
        for seconds, payload in list(reader.arrivals):
            found = _NUMBER.search(payload if isinstance(payload, str) else payload.decode(errors="replace"))
            if found is not None and found[1] == self._run:
                delays.append(seconds - self._due[int(found[2])])
        return delays


def check(seen: Isolation, *, p99_ms: float, readers: Sequence[TestingClient], beside: Sequence[TestingClient]) -> None:
    """Raises AssertionError, with a text for people, unless what was measured is within `p99_ms`."""
    __tracebackhide__ = True
    if not seen.trouble and seen.p99_ms <= p99_ms:
        return
    came = f"{len(seen.delays_ms)} of {seen.expected} deliveries to {len(readers)} reading clients of {readers[0].url}"
    if seen.trouble:
        lines = [f"not isolated: {seen.trouble}", f"  came:     {came}"]
    else:
        lines = [f"not isolated: the p99 of {came} was {seen.p99_ms:.1f} ms, allowed are {p99_ms:g} ms"]
    if seen.delays_ms:
        quantiles = ", ".join(f"p{share} {seen.quantile_ms(share / 100):.1f} ms" for share in (50, 90, 99))
        lines.append(f"  delays:   {quantiles}, longest {seen.delays_ms[-1]:.1f} ms")
    others = ", ".join(f"{one.kind} {one.address}" for one in beside)
    lines.append(f"  beside:   {others or 'no client that misbehaves'}")
    place = f", held at {seen.loop_place}" if seen.loop_place else ""
    if beside and seen.loop_late_ms * 2 < p99_ms:
        place = ": the application waits for something else, such as a client that does not read"
    lines.append(f"  loop:     the server's event loop was late by up to {seen.loop_late_ms:.0f} ms{place}")
    raise AssertionError("\n".join(lines))

"""Half an hour under every kind of attack, which come and go at random; the exit status is 1 if an aim is not held.

    python -m tests.system.hostile.soak [--minutes M] [--clients N] [--loop LOOP] [--seed N]

Each minute is a line: others' p99, losses, RSS. At the end: the slope of each minute's least RSS after a third of the
time, and others' p99 over all the time, with that of the worst minute. What the server holds for an attack that goes on
is no growth: the least RSS is what stays.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import time
from itertools import chain
from threading import Event
from typing import Any, Final

from .attackers import ATTACKS
from .probe import Measured, Process, at
from .rows import ROWS, Figure
from .scene import Attacker, Scene

ATTACKERS: Final = 3  # at once, each a process
SECONDS: Final = (1.0, 20.0)  # one attacks for so long, and another comes
CONNECTIONS: Final = (1, 1, 2, 5, 10, 50)
SLOPE_MB: Final = 1.0  # per ten minutes
P99_MS: Final = 50.0
MESSAGES_PER_SECOND: Final = 2.0
# Filling the logs that the settings allow is no leak, and these need servers of their own.
LEFT_OUT: Final = {row.attack for row in ROWS if row.environ or row.descriptors} | {"100,000 channels", "a full log"}
KINDS: Final = sorted(ATTACKS.keys() - LEFT_OUT)


class Attackers:
    """Always so many, each of a random kind."""

    def __init__(self, scene: Scene, chance: random.Random) -> None:
        self._scene = scene
        self._chance = chance
        self._running: list[tuple[float, Attacker]] = []  # [(until, process)]
        self.started: list[str] = []  # kinds and connections, since somebody has emptied it

    def turn(self) -> None:
        """Replaces those whose time is over."""
        now = time.monotonic()
        for until, attacker in self._running:
            if until < now:
                attacker.stop()
        self._running = [(until, attacker) for until, attacker in self._running if until >= now]
        while len(self._running) < ATTACKERS:
            self._start(now)

    def _start(self, now: float) -> None:
        kind, seconds = self._chance.choice(KINDS), self._chance.uniform(*SECONDS)
        connections = self._chance.choice(CONNECTIONS)
        attacker = self._scene.attacker(kind, seconds=seconds, connections=connections, again=True)
        self._running.append((now + seconds, attacker))
        self.started.append(f"{connections} x {kind}")

    def stop(self) -> None:
        for _, attacker in self._running:
            attacker.stop()


def slope(points: list[tuple[float, float]]) -> float:
    """MB in ten minutes, by least squares; points are (seconds, MB)."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope * 600 if len(points) > 1 else 0.0


def figures(minutes: list[Measured], rss: list[tuple[float, float]]) -> list[Figure]:
    grown, worst = slope(rss), max(one.p99_ms for one in minutes)
    p99 = at(sorted(chain.from_iterable(one.echo_ms for one in minutes)), 0.99)
    cpu = at(sorted(chain.from_iterable(one.echo_cpu_ms for one in minutes)), 0.99)
    seen = f"{p99:.0f} ms, {cpu:.0f} ms of CPU; worst minute {worst:.0f} ms"
    lost, closed = sum(one.lost for one in minutes), sum(one.closed for one in minutes)
    failed = sum(one.healthz_failed for one in minutes)
    return [
        Figure("RSS", f"{grown:+.2f} MB in 10 min", f"+{SLOPE_MB:g}", grown < SLOPE_MB),
        Figure("honest lost", str(lost), "0", not lost),
        Figure("honest closed", str(closed), "0", not closed),
        Figure("/healthz failed", str(failed), "0", not failed),
        Figure("p99", seen, f"{P99_MS:g} ms", p99 <= P99_MS),
    ]


def soak(scene: Scene, attackers: Attackers, seconds: float) -> list[Figure]:
    minutes: list[Measured] = []
    rss: list[tuple[float, float]] = []
    process = Process(scene.server.pid)
    start, least = time.monotonic(), math.inf
    scene.probe.measure()
    while (elapsed := time.monotonic() - start) < seconds:
        attackers.turn()
        Event().wait(1)
        least = min(least, process.status("VmRSS") / 1e6)
        if elapsed >= min(60.0, seconds / 10) * (len(minutes) + 1):
            one = scene.probe.measure()
            minutes.append(one)
            if elapsed > seconds / 3:
                rss.append((elapsed, least))
            tell(
                f"{elapsed:6.0f} s  p99 {one.p99_ms:.0f} ms ({one.p99_cpu_ms:.0f} ms of CPU), lost {one.lost}, "
                f"closed {one.closed}, RSS {least:.1f} to {one.rss_peak_bytes / 1e6:.1f} MB; "
                f"new: {', '.join(attackers.started)}"
            )
            least = math.inf
            attackers.started.clear()
    return figures(minutes, rss)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(options: Any) -> int:
    with Scene(options.loop, clients=options.clients, messages_per_second=MESSAGES_PER_SECOND, whole=True) as scene:
        attackers = Attackers(scene, random.Random(options.seed))
        try:
            found = soak(scene, attackers, options.minutes * 60)
        finally:
            attackers.stop()
        traces = scene.server.log.count("Traceback")
        found.append(Figure("tracebacks", str(traces), "0", not traces))
        closed = {reason: count for reason, count in scene.statistics()["closed"].items() if count}
    for figure in found:
        tell(str(figure))
    tell(f"closed by reason: {closed}")
    return int(not all(figure.held for figure in found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--seed", type=int, default=13)
    sys.exit(run(parser.parse_args()))

"""Stops a server while it is attacked."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

from ...support.processes import ServerProcess
from .rows import Figure
from .scene import SERVE, Attacker

DRAIN_SECONDS = 1.0
STOP_SECONDS = DRAIN_SECONDS + 2.0
_GIVE_UP_SECONDS = 60.0
_CONNECTIONS = 4


def stop_under(*attacks: str, loop: str, limit_seconds: float = STOP_SECONDS, whole: bool = False) -> Iterator[Figure]:
    """Sends SIGTERM to a server while `attacks` go on, whose closed connections are replaced."""
    server = ServerProcess(*SERVE, loop, whole=whole, FANWISE_DRAIN_SECONDS=str(DRAIN_SECONDS))
    attackers = []
    try:
        attackers = [
            Attacker(name, server.port, connections=_CONNECTIONS, seconds=_GIVE_UP_SECONDS, again=True)
            for name in attacks
        ]
        server.wait_for_log("takes clients")
        start = time.monotonic()
        try:
            status = str(server.stop(within_seconds=_GIVE_UP_SECONDS))
        except subprocess.TimeoutExpired:
            status = "killed"
        seconds = time.monotonic() - start
        yield Figure("status", status, "0", status == "0")
        yield Figure("exit after", f"{seconds:.1f} s", f"{limit_seconds:g} s", seconds <= limit_seconds)
        yield Figure("tracebacks", str(server.log.count("Traceback")), "0", "Traceback" not in server.log)
        stopped = "stopped" in server.log
        yield Figure("shutdown", "complete" if stopped else "skipped", "complete", stopped)
    finally:
        for attacker in attackers:
            attacker.stop()
        server.close()

"""Stops a server while it is attacked."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

from ...support.processes import ServerProcess
from .rows import Figure
from .scene import SERVE, Attacker

DRAIN_SECONDS = 1.0
STOP_SECONDS = DRAIN_SECONDS + 2.0
_GIVE_UP_SECONDS = 60.0


def start(loop: str, *, whole: bool = False) -> ServerProcess:
    """A server that takes clients."""
    server = ServerProcess(*SERVE, loop, whole=whole, FANWISE_DRAIN_SECONDS=str(DRAIN_SECONDS))
    server.wait_for_log("takes clients")
    return server


def stop_under(
    server: ServerProcess, *attacks: str, connections: int = 4, limit_seconds: float = STOP_SECONDS
) -> Iterator[Figure]:
    """Sends SIGTERM to `server` while `attacks` go on, each over so many connections; closed ones are replaced."""
    attackers: list[Attacker] = []
    try:
        options: Any = {"connections": connections, "seconds": _GIVE_UP_SECONDS, "again": True}
        attackers += [Attacker(name, server.port, **options) for name in attacks]
        began = time.monotonic()
        try:
            status = str(server.stop(within_seconds=_GIVE_UP_SECONDS))
        except subprocess.TimeoutExpired:
            status = "killed"
        seconds = time.monotonic() - began
        yield Figure("status", status, "0", status == "0")
        yield Figure("exit after", f"{seconds:.1f} s", f"{limit_seconds:g} s", seconds <= limit_seconds)
        yield Figure("tracebacks", str(server.log.count("Traceback")), "0", "Traceback" not in server.log)
        stopped = "stopped:" in server.log
        yield Figure("shutdown", "complete" if stopped else "skipped", "complete", stopped)
    finally:
        for attacker in attackers:
            attacker.stop()
        server.close()

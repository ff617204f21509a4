"""The engine behind several servers: whether it can be used, and what it would lose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..humanize import printable
from .findings import Finding, fail, ok, warn

_NAME: Final = "engine"
_SLOW_SECONDS: Final = 0.01
_PUSHED_BYTES: Final = 33_554_432


class EngineFacts(NamedTuple):
    """An engine, as it answers now.

    Attributes:
        address: Its URL without user and password.
        problem: Why it cannot be used; empty if it can.
        engine: Name and version.
        ping_seconds: How long a question and its answer took.
        max_bytes: `maxmemory`; 0: unlimited. None: unknown.
        policy: `maxmemory-policy`; empty: unknown.
        fsync: `appendfsync`, or "off" without an append-only file; empty: unknown.
        replicas: How many are connected; None: unknown.
        pushed_bytes: How much may wait for a server that stands still; 0: unlimited. None: unknown.
    """

    address: str
    problem: str = ""
    engine: str = ""
    ping_seconds: float = 0.0
    max_bytes: int | None = None
    policy: str = ""
    fsync: str = ""
    replicas: int | None = None
    pushed_bytes: int | None = None


def engine(facts: EngineFacts, *, durable: bool, replicas: int) -> Iterator[Finding]:
    """Checks an engine.

    Args:
        facts: What it has answered.
        durable: `FANWISE_BACKPLANE_DURABLE`.
        replicas: How many replicas a publication waits for.
    """
    yield _reached(facts)
    if not facts.engine:
        return
    yield from _memory(facts)
    yield from _restarts(facts, durable=durable)
    yield from _replicas(facts, replicas)
    yield from _pushes(facts)


def _reached(facts: EngineFacts) -> Finding:
    address = printable(facts.address)
    if facts.problem:
        found = f"{address}: {printable(facts.problem)}"
        return fail(_NAME, found, "servers do not become ready without it: its address, password, rights, version")
    found = f"{address} is {printable(facts.engine)} and answers within {facts.ping_seconds * 1000:.2g} ms"
    if facts.ping_seconds > _SLOW_SECONDS:
        return warn(_NAME, found, "publications wait for that long at least: a nearer engine, or a less busy one")
    return ok(_NAME, found)


def _memory(facts: EngineFacts) -> Iterator[Finding]:
    name = "engine memory"
    if facts.max_bytes is None:
        return
    if facts.policy not in ("", "noeviction"):
        found = (
            f"maxmemory-policy is {printable(facts.policy)}: keys that it evicts void positions, and are told as gaps"
        )
        yield fail(name, found, "maxmemory-policy noeviction: then publications are refused while it is full")
    elif not facts.max_bytes:
        yield warn(name, "maxmemory is not set: the system ends the engine when memory is short", "set maxmemory")
    else:
        yield ok(name, f"at most {facts.max_bytes:,} bytes, without eviction")


def _restarts(facts: EngineFacts, *, durable: bool) -> Iterator[Finding]:
    name = "engine restarts"
    if not facts.fsync:
        return
    if durable and facts.fsync != "always":
        found = (
            f"FANWISE_BACKPLANE_DURABLE is set, and appendfsync is {printable(facts.fsync)}: a crash loses the latest"
        )
        yield fail(name, found, "appendonly yes and appendfsync always, or FANWISE_BACKPLANE_DURABLE=false")
    elif durable:
        yield ok(name, "positions survive its restarts")
    else:
        yield ok(name, "positions end with each restart: clients get a gap for the reason epoch")


def _replicas(facts: EngineFacts, replicas: int) -> Iterator[Finding]:
    name = "engine replicas"
    if facts.replicas is None or not (replicas or facts.replicas):
        return
    if facts.replicas < replicas:
        found = f"{facts.replicas} are connected, and publications wait for {replicas}: none is confirmed"
        yield fail(name, found, "connect replicas, or lower FANWISE_BACKPLANE_REPLICAS")
    elif not replicas:
        found = f"{facts.replicas} are connected, and publications wait for none: a failover loses the latest"
        yield warn(name, found, "FANWISE_BACKPLANE_REPLICAS=1")
    else:
        yield ok(name, f"{facts.replicas} are connected, and publications wait for {replicas}")


def _pushes(facts: EngineFacts) -> Iterator[Finding]:
    name = "engine buffers"
    if facts.pushed_bytes is None:
        return
    if 0 < facts.pushed_bytes < _PUSHED_BYTES:
        found = f"a server that stands still is cut off after {facts.pushed_bytes:,} bytes, and reads them again later"
        yield warn(name, found, "client-output-buffer-limit pubsub 32mb 8mb 60")
    else:
        yield ok(name, f"room for a server that stands still: {facts.pushed_bytes or 'unlimited'} bytes")

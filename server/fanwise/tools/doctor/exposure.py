"""Publishers and processes: who may publish, and whether the server is one process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..humanize import printable
from .findings import Finding, fail, ok, warn

_VARIABLES = ("WEB_CONCURRENCY", "UVICORN_WORKERS")  # where uvicorn, started by hand, looks
_ONE = "each process reaches only its own clients"


def exposure(*, address: str, key: bool, loopback: bool, problems: Collection[str]) -> Finding:
    """Checks whether strangers can publish. `problems` are those of `fanwise serve` itself."""
    name = "exposure"
    if problems:
        return fail(name, "; ".join(problems), "as it says: `fanwise serve` does not start like this")
    if key:
        return ok(name, f"listens on {printable(address)}, publishing asks for the key or a token")
    if loopback:
        return ok(name, f"listens on {printable(address)}, which only this machine reaches")
    return warn(
        name,
        f"listens on {printable(address)}, and everybody who reaches it may publish, and close clients (--open)",
        "set FANWISE_API_KEY, unless something in front of it keeps others out",
    )


def workers(environ: Mapping[str, str], count: int = 1, problems: Collection[str] = ()) -> Finding:
    """Checks what `fanwise serve` needs for `count` workers, and whether uvicorn would start several.

    `problems` are those of `fanwise serve` itself.
    """
    name = "workers"
    if problems:
        return fail(name, "; ".join(problems), "as it says: `fanwise serve` does not start like this")
    if count > 1:
        return ok(name, f"{count} workers behind one port and one engine")
    for variable in _VARIABLES:
        asked = environ.get(variable, "")
        if asked.isdecimal() and int(asked) > 1:
            found = (
                f"{variable} is {asked}: `fanwise serve` is one process all the same, but uvicorn would start {asked}"
            )
            return warn(name, f"{found}, and {_ONE}", f"unset {variable}, or set it to 1")
    return ok(name, "one process")


def processes(pids: Collection[int]) -> Finding:
    """Checks whether the answers come from a single process. `pids`: one for each answer."""
    name, different = "workers", len(set(pids))
    if different == 1:
        return ok(name, f"one process ({len(pids)} answers came from it)")
    return fail(
        name,
        f"{len(pids)} answers came from {different} processes: {_ONE}, and a message does not reach the others",
        "set FANWISE_BACKPLANE, or run `fanwise serve --workers N`, or a single worker",
    )


def fleet(pids: Collection[int], workers: Collection[int], silent: Sequence[str]) -> Finding:
    """Checks whether the answers come from workers of one engine, and whether all workers answer each other.

    Args:
        pids: One for each answer.
        workers: Of the workers that have answered the one that was asked.
        silent: Names of those that have not.
    """
    name, strangers = "workers", sorted(set(pids) - set(workers))
    if strangers and not silent:
        return fail(
            name,
            f"process {strangers[0]} answers, and is not among the {len(workers)} workers of the engine",
            "set one FANWISE_BACKPLANE and one FANWISE_BACKPLANE_PREFIX for all workers",
        )
    if silent:
        found = f"{len(silent)} workers do not answer the others: {printable(', '.join(silent))}"
        return warn(name, found, "look at their logs: they hang, or have lost the engine, or are of another version")
    different = len(set(pids))
    return ok(name, f"{len(workers)} workers behind one engine ({len(pids)} answers came from {different} of them)")

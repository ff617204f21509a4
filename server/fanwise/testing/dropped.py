"""What became of a client, as its server's broadcaster sees it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from ..broadcaster.statistics import ClientStatistics
from ..core.counters import name_of
from ..core.reasons import CloseReason
from ..embedding import Broadcaster
from .clients import TestingClient

CAUSES = {name_of(reason): reason for reason in CloseReason}


def check_cause(cause: str | None) -> None:
    """Raises ValueError if no connection ends with `cause`."""
    if cause is not None and cause not in CAUSES:
        raise ValueError(f"cause={cause!r} is not allowed: it is one of {', '.join(sorted(CAUSES))}")


def cause_of(broadcaster: Broadcaster, client: TestingClient) -> str | None:
    """Returns why a client has gone; None if it is there still, or has never been. On the broadcaster's loop."""
    gone = broadcaster.statistics().closed_clients
    return next((name_of(one.reason) for one in reversed(gone) if one.address == client.address), None)


def why_not(broadcaster: Broadcaster, client: TestingClient) -> str:
    """Returns a text for people: why a client was not dropped. On the broadcaster's loop."""
    statistics = broadcaster.statistics()
    here = next((one for one in statistics.clients if one.address == client.address), None)
    if here is None:
        return (
            f"the broadcaster does not know the client, but {len(statistics.clients)} others: is the fixture "
            "`broadcaster` the one that the application uses?"
        )
    return f"{_described(here)}; {_bounds(broadcaster)}"


def _described(one: ClientStatistics) -> str:
    behind = "is up to date" if one.behind_seconds is None else f"has been behind for {one.behind_seconds:.1f} s"
    return (
        f"on {', '.join(one.channels) or 'no channel'} it {behind}, by {one.lag} publications and {one.lag_bytes} "
        f"bytes; {one.buffered_bytes} bytes wait for its socket"
    )


def _bounds(broadcaster: Broadcaster) -> str:
    names = ("overflow", "queue_messages", "queue_bytes", "forgive_seconds", "stall_seconds")
    return "allowed are " + ", ".join(f"{name}={getattr(broadcaster, name)}" for name in names)

"""When a Fanwise server ended connections, as its list of closed ones says.

A client that reads nothing finds a close behind the bytes that it has not read: late, or at the end of the run.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic_ns
from urllib.parse import urlsplit, urlunsplit

from ....errors import FanwiseError
from ...remote import Remote
from ..load.snapshots import Drop

_BEARER = re.compile(r"authorization:\s*bearer\s+(\S+)\s*", re.IGNORECASE)
_PATIENCE_SECONDS = 2.0
_CLOCKS_SECONDS = 0.5  # by which two clocks of one machine, read one after the other, may differ


def server_times(url: str, headers: Sequence[str], *, start_ns: int) -> dict[str, list[float]]:
    """Returns {a client's address: when the server ended its connections}, in seconds of the measurement.

    Empty for a server that is no Fanwise, or does not show its list.

    Args:
        url: Of the WebSocket that was measured.
        headers: Of each handshake; a bearer's key among them is taken.
        start_ns: When the measurement began, on the monotonic clock.
    """
    began = time.time() - (monotonic_ns() - start_ns) / 1e9
    times: dict[str, list[float]] = {}
    try:
        remote = Remote(_root(url), api_key=_key(headers), patience_seconds=_PATIENCE_SECONDS)
        for closed in remote.stats(everywhere=True)["closed_clients"]:
            times.setdefault(str(closed["address"]), []).append(float(closed["at"]) - began)
    except (FanwiseError, LookupError, TypeError, ValueError):
        return {}
    return times


def placed(drops: Sequence[Drop], times: Mapping[str, Sequence[float]]) -> list[Drop]:
    """Returns the drops with the server's times where these are known, the earliest first."""
    return sorted((_placed(drop, times.get(drop.address, ())) for drop in drops), key=lambda drop: drop.at_seconds)


def _placed(drop: Drop, times: Sequence[float]) -> Drop:
    """Returns the drop at the latest time that is not after its discovery: addresses come again."""
    before = [at for at in times if at <= drop.at_seconds + _CLOCKS_SECONDS]
    return replace(drop, at_seconds=min(max(before), drop.at_seconds)) if before else drop


def _root(url: str) -> str:
    """Returns where `/stats` is, of a WebSocket's URL."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rpartition("/")[0], "", ""))


def _key(headers: Sequence[str]) -> str | None:
    """Returns the bearer's key among headers of a handshake; None without one."""
    found = (_BEARER.fullmatch(header) for header in headers)
    return next((match[1] for match in found if match is not None), None)

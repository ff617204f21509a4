"""Reconnecting: the close codes that allow it, the server's hints, and the time between attempts."""

from __future__ import annotations

from collections.abc import Callable

import orjson

LOST_CODE = 1006
RESTART_CODE = 1012

# 1000 says that it is over. The rest say that we broke a rule (RFC 6455 section 7.4.1): we would again.
_FINAL_CODES = {1000, 1002, 1003, 1007, 1008, 1009, 1010}
_LAST_APPLICATION_CODES = range(4500, 5000)  # ours, by definition: do not reconnect

# Bound on the server's hints: a client that waits longer is as good as gone.
HINT_CAP_SECONDS = 3600.0


class Backoff:
    """Exponential backoff with full jitter: attempt n waits a random part of `min(cap, base * 2**n)` seconds.

    Args:
        base_seconds: The most that the first attempt waits.
        cap_seconds: The most that any attempt waits.
        random: Returns a number from 0 (inclusive) to 1 (exclusive).
    """

    __slots__ = ("_base_seconds", "_cap_seconds", "_ceiling_seconds", "_random")

    def __init__(self, *, base_seconds: float, cap_seconds: float, random: Callable[[], float]) -> None:
        if not 0 < base_seconds <= cap_seconds:
            raise ValueError(f"base_seconds={base_seconds} must be above 0 and at most cap_seconds={cap_seconds}")
        self._base_seconds = base_seconds
        self._cap_seconds = cap_seconds
        self._random = random
        self._ceiling_seconds = base_seconds

    def next_seconds(self) -> float:
        """Returns the wait before the next attempt, and doubles the ceiling."""
        seconds = self._random() * self._ceiling_seconds
        self._ceiling_seconds = min(self._cap_seconds, 2 * self._ceiling_seconds)
        return seconds

    def reset(self) -> None:
        """Begins again: the connection was good."""
        self._ceiling_seconds = self._base_seconds


def may_reconnect(code: int) -> bool:
    """Returns whether a client may reconnect after `code` (RFC 6455 section 7.4; not after 4500-4999)."""
    return code not in _FINAL_CODES and code not in _LAST_APPLICATION_CODES


def restart_hint_seconds(code: int, reason: str) -> float | None:
    """Returns `retry_ms` of a restarting server, in seconds: the JSON in the text of a close with 1012."""
    if code != RESTART_CODE:
        return None
    try:
        hint = orjson.loads(reason)
    except orjson.JSONDecodeError:
        return None
    milliseconds = hint.get("retry_ms") if isinstance(hint, dict) else None
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float) or milliseconds < 0:
        return None
    return min(milliseconds / 1000, HINT_CAP_SECONDS)


def retry_after_seconds(value: str | None) -> float:
    """The seconds of a `Retry-After` header (RFC 9110 section 10.2.3); 0 without one, or with a date."""
    if value is None or not value.strip().isdecimal() or not value.isascii():
        return 0.0
    return min(float(value), HINT_CAP_SECONDS)

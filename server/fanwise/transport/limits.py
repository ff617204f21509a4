"""What a peer may send: one value with all bounds, and the budget of one connection.

The defaults here are those of the settings, which `serve` hands over.

Sizes end a request or a connection. Rates slow a connection down: its reading is paused, TCP passes that on to the
sender, and nothing is lost. Only frames that carry nothing (pings, pongs, empty fragments) can end a connection by
their number: no application paces them, and waiting gains the peer nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

BUDGET: Final = "fanwise.budget"  # the key in scope["extensions"] under which a connection's `Budget` stands
BURST_SECONDS: Final = 2.0  # of messages, bytes, publishes and subscriptions that may come at once
CONTROL_BURST_SECONDS: Final = 3.0  # of control frames: a client that was suspended may send its pings in one go
LEAST_PAUSE_SECONDS: Final = 0.01  # a timer for less costs more than it paces
CONTROL_PAUSE_SECONDS: Final = 0.1
CONTROL_PAUSES: Final = 3  # after which a connection that goes on is closed
PONGS_PER_SECOND: Final = 50
PONGS_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of what one connection may send. The defaults are above what one server process can take in.

    Attributes:
        head_bytes: Of a request, up to the empty line. The parser's cost grows with the square of a field's length.
        headers: Fields of a head. Browsers send about twenty.
        head_seconds: From the connection, or the first byte behind an answer, to the end of a head.
        body_seconds: For each 1,024 bytes of a body.
        message_seconds: From the first byte of a WebSocket message to its last.
        fragments: Of one WebSocket message, without empty ones.
        rates: Whether the rates below hold. False is for benchmarks on loopback.
        messages_per_second: WebSocket frames, of any kind.
        bytes_per_second: Bytes of frames and requests.
        control_frames_per_second: Pings, pongs and empty fragments.
        publishes_per_second: Publications, over WebSocket and HTTP.
        subscriptions_per_second: Operations `subscribe` and `unsubscribe`.
    """

    head_bytes: int = 16_384
    headers: int = 100
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    message_seconds: float = 30.0
    fragments: int = 4_096
    rates: bool = True
    messages_per_second: int = 100_000
    bytes_per_second: int = 268_435_456
    control_frames_per_second: int = 100
    publishes_per_second: int = 100_000
    subscriptions_per_second: int = 1_000


class Budget:
    """Owns the invariant that a connection sends at most its rates, and twice a burst, on average.

    The owner subtracts from `messages` and `bytes` what came, and asks `pause_seconds` where one is below zero. The
    clock is read only then: within the budget, the books cost two subtractions for each read.

    Args:
        limits: The rates.
        clock: Seconds, from anywhere.

    Attributes:
        messages: Frames that may come now.
        bytes: Bytes that may come now.
    """

    __slots__ = (
        "_at",
        "_clock",
        "_control_frames",
        "_limits",
        "_pauses",
        "_pongs",
        "_publishes",
        "_subscriptions",
        "bytes",
        "messages",
    )

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._at = clock()
        self._pauses = 0  # for control frames, since their bucket was half full
        full = BURST_SECONDS if limits.rates else math.inf
        self.messages = limits.messages_per_second * full
        self.bytes = limits.bytes_per_second * full
        self._publishes = limits.publishes_per_second * full
        self._subscriptions = limits.subscriptions_per_second * full
        self._control_frames = limits.control_frames_per_second * (CONTROL_BURST_SECONDS if limits.rates else math.inf)
        self._pongs = PONGS_AT_ONCE if limits.rates else math.inf

    def pause_seconds(self, *, control_frames: int = 0) -> float:
        """Counts control frames; returns for how long reading has to pause, or infinity if the peer is a flood.

        Too many messages or bytes pause a connection until the debt is paid, and never end it. Too many control frames
        pause it three times, for 0.1 s; frames that then still come too fast are a flood.
        """
        self._control_frames -= control_frames
        if self.messages >= 0 and self.bytes >= 0 and self._control_frames >= 0:
            return 0.0
        self._refill()
        seconds = max(
            -self.messages / self._limits.messages_per_second, -self.bytes / self._limits.bytes_per_second, 0.0
        )
        if control_frames and self._control_frames < 0:
            self._pauses += 1
            if self._pauses > CONTROL_PAUSES:
                return math.inf
            seconds = max(seconds, CONTROL_PAUSE_SECONDS)
        return max(seconds, LEAST_PAUSE_SECONDS) if seconds else 0.0

    def pong(self) -> bool:
        """Returns whether a ping may have a pong of its own (RFC 6455 section 5.5.3)."""
        self._pongs -= 1
        if self._pongs < 0:
            self._refill()
            if self._pongs < 0:
                self._pongs = 0.0
                return False
        return True

    def publish(self, count: int = 1) -> float:
        """Counts publications; returns for how many seconds the next one has to wait."""
        self._publishes -= count
        if self._publishes >= 0:
            return 0.0
        self._refill()
        return max(0.0, -self._publishes / self._limits.publishes_per_second)

    def subscribe(self, count: int = 1) -> float:
        """Counts operations `subscribe` and `unsubscribe`; returns for how many seconds the next one has to wait."""
        self._subscriptions -= count
        if self._subscriptions >= 0:
            return 0.0
        self._refill()
        return max(0.0, -self._subscriptions / self._limits.subscriptions_per_second)

    def _refill(self) -> None:
        """Adds to all buckets what the time since the last refill is worth, up to their bursts."""
        limits, now = self._limits, self._clock()
        seconds, self._at = now - self._at, now
        self.messages = _filled(self.messages, limits.messages_per_second, BURST_SECONDS, seconds, limits)
        self.bytes = _filled(self.bytes, limits.bytes_per_second, BURST_SECONDS, seconds, limits)
        self._publishes = _filled(self._publishes, limits.publishes_per_second, BURST_SECONDS, seconds, limits)
        self._subscriptions = _filled(
            self._subscriptions, limits.subscriptions_per_second, BURST_SECONDS, seconds, limits
        )
        rate = limits.control_frames_per_second
        self._control_frames = _filled(self._control_frames, rate, CONTROL_BURST_SECONDS, seconds, limits)
        if self._control_frames > rate * CONTROL_BURST_SECONDS / 2:
            self._pauses = 0
        self._pongs = _filled(self._pongs, PONGS_PER_SECOND, PONGS_AT_ONCE / PONGS_PER_SECOND, seconds, limits)


def _filled(tokens: float, rate: float, burst_seconds: float, seconds: float, limits: Limits) -> float:
    return min(tokens + rate * seconds, rate * burst_seconds) if limits.rates else math.inf


_UNLIMITED: Final = Budget(Limits(rates=False))


def budget_of(scope: Mapping[str, Any]) -> Budget:
    """Returns the budget of the connection of an ASGI scope; an unlimited one under other protocol classes."""
    found = (scope.get("extensions") or {}).get(BUDGET)
    return found if isinstance(found, Budget) else _UNLIMITED


def budget_of_sink(sink: object) -> Budget:
    """Returns the budget of the connection that is a client's sink; an unlimited one under other protocol classes."""
    found = getattr(sink, "budget", None)
    return found if isinstance(found, Budget) else _UNLIMITED

"""Places: how many connections an address may have, and how many it and all together may open per second.

Publications over HTTP and tokens count at the address too: a new connection has a new budget, and its address keeps
its debt.

Loopback addresses are exempt: load from the machine itself is its operator's. A connection of a trusted proxy counts at
the forwarded address of its latest request, and at none before its first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from ..core.addresses import is_loopback, site_of
from ..core.codes import CodedError, ErrorCode
from ..logs.events import Event, log
from .proxies import TrustedProxies

BURST_SECONDS: Final = 10.0  # of a rate may come at once: all clients behind one address return together
IDLE_ADDRESSES: Final = 16_384  # addresses without connections that are remembered: about 4 MB
PATIENCE_SECONDS: Final = 2.0  # for which a connection without a request keeps its place when descriptors are short
LOG_SECONDS: Final = 10.0  # one line of the log for the refusals of so long
FORWARDED_FOR: Final = b"x-forwarded-for"
PUBLISHES: Final = "address_publishes_per_second"  # rates of `PlaceLimits`
TOKENS: Final = "address_tokens_per_second"
PLACE: Final = "fanwise.place"  # the key in scope["extensions"] under which a connection's `Place` stands


class PlaceLimits(NamedTuple):
    """The bounds.

    Attributes:
        address_connections: Open connections of one address. The addresses of an IPv6 /64 count as one.
        address_connects_per_second: New connections of one address.
        connects_per_second: New connections of all addresses.
        address_publishes_per_second: Publications of one address over HTTP, on all its connections.
        address_tokens_per_second: Tokens of one address whose signatures are verified.
        short_paths: Paths, and what is below them, that are answered when descriptors are short.
    """

    address_connections: int = 10_000
    address_connects_per_second: int = 1_000
    connects_per_second: int = 5_000
    address_publishes_per_second: int = 100_000
    address_tokens_per_second: int = 1_000
    short_paths: Sequence[str] = ()


class _Bucket:
    """A token bucket that is full at first, with `BURST_SECONDS` of its rate."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, rate: float, now: float) -> None:
        self._tokens = rate * BURST_SECONDS
        self._at = now

    def tokens(self, rate: float, now: float) -> float:
        """Returns the number of tokens at `now`."""
        self._tokens = min(rate * BURST_SECONDS, self._tokens + rate * (now - self._at))
        self._at = now
        return self._tokens

    def take(self, count: int = 1) -> None:
        """Takes tokens. Those that are not there are a debt."""
        self._tokens -= count


class _Address:
    """The connections of one address, its bucket of new ones, and those of what it has sent: {their rate: bucket}."""

    __slots__ = ("bucket", "connections", "sent")

    def __init__(self, bucket: _Bucket) -> None:
        self.bucket = bucket
        self.connections = 0
        self.sent: dict[str, _Bucket] = {}


class Place:
    """One connection's place, from accepting until its descriptor is closed.

    Attributes:
        host: The peer's address.
        since: When the connection was accepted, in seconds of the clock.
        short: Whether descriptors were short then: one request of `short_paths` is answered, no other.
        end: Ends the connection; None when there is nothing to end, or the place is the connection's to keep.
    """

    __slots__ = ("_address", "_places", "_proxied", "end", "host", "short", "since")

    def __init__(  # by position: a place is made for each connection
        self, places: Places, host: str, address: str | None, proxied: bool, short: bool, since: float
    ) -> None:
        self._places = places
        self._address = address  # at which the connection counts
        self._proxied = proxied
        self.host = host
        self.short = short
        self.since = since
        self.end: Callable[[], None] | None = None

    @property
    def plain(self) -> bool:
        """Whether any first request is answered, and counts at the peer's own address."""
        return not (self.short or self._proxied)

    def check(self, path: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Looks at the head of a request; the connection keeps its place from the first on.

        Raises:
            CodedError: There is no place for the request; the connection is to be answered and closed.
        """
        if not self.short:
            self._places.waiting.pop(self, None)
            self.end = None
        elif self._places.answers_when_short(path):
            self._places.reserve[self] = self._places.reserve.pop(self, None)  # now the last that has to go
        else:
            raise self._places.refused(ErrorCode.FULL, "the descriptors of the server are in use", host=self.host)
        if self._proxied:
            host = self._places.proxies.client([value for name, value in headers if name == FORWARDED_FOR])
            if host is not None:
                self._address = self._places.move(self._address, host)

    def publish(self, count: int) -> float:
        """Counts publications at the address; returns for how many seconds the next one has to wait."""
        return 0.0 if self._address is None else self._places.count(self._address, PUBLISHES, count)

    def verify(self, count: int) -> float:
        """Counts tokens that are verified at the address; returns for how many seconds the next one has to wait."""
        return 0.0 if self._address is None else self._places.count(self._address, TOKENS, count)

    def leave(self) -> None:
        """Frees the place. Idempotent."""
        self._places.waiting.pop(self, None)
        self._places.reserve.pop(self, None)
        self._places.left(self._address)
        self._address = self.end = None


class Places:
    """Owns the invariant that an address has no more connections, and opens no more per second, than allowed.

    Args:
        limits: The bounds.
        count: Called with the code of each refusal.
        proxies: The trusted proxies.
        exempt: Whether an address is left out of the limits.
        clock: Seconds, from anywhere.

    Attributes:
        waiting: Connections that have sent no request, longest waiting first.
        reserve: Connections that were taken in when descriptors were short, longest without a request first.
    """

    def __init__(
        self,
        limits: PlaceLimits,
        *,
        count: Callable[[ErrorCode], None],
        proxies: TrustedProxies | None = None,
        exempt: Callable[[str], bool] = is_loopback,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self.proxies = TrustedProxies() if proxies is None else proxies
        self._exempt = exempt
        self._clock = clock
        self._all = _Bucket(limits.connects_per_second, clock())
        self._addresses: dict[str, _Address] = {}
        self._idle: dict[str, None] = {}  # addresses without connections, longest idle first
        self._refusals = _Refusals(count)
        self.waiting: dict[Place, None] = {}
        self.reserve: dict[Place, None] = {}

    def enter(self, host: str, *, short: bool = False) -> Place:
        """Gives a new connection of `host` a place; `short` is whether descriptors are short.

        Raises:
            CodedError: There are too many connections, or too many new ones.
        """
        now = self._clock()
        address: str | None = None
        proxied = host in self.proxies
        if not self._exempt(host):
            rate = self._limits.connects_per_second
            if self._all.tokens(rate, now) < 1:
                raise self.refused(ErrorCode.BUSY, f"more than {rate} connections are opened per second", host=host)
            address = None if proxied else self._join(host, now)
            self._all.take()
        place = Place(self, host, address, proxied, short, now)
        (self.reserve if short else self.waiting)[place] = None
        return place

    def move(self, before: str | None, host: str) -> str | None:
        """Counts a connection at the address of `host` in place of `before`; returns the address.

        Raises:
            CodedError: That address has too many connections, or too many new ones.
        """
        address = None if self._exempt(host) else site_of(host)
        if address != before:
            if address is not None:
                self._join(host, self._clock())
            self.left(before)
        return address

    def left(self, address: str | None) -> None:
        """Forgets a connection that has counted at `address`."""
        if address is not None:
            known = self._addresses[address]
            known.connections -= 1
            if not known.connections:
                self._idle[address] = None

    def count(self, address: str, rate_name: str, count: int) -> float:
        """Counts what an address with connections has sent; returns for how many seconds the next has to wait."""
        now, rate = self._clock(), cast("int", getattr(self._limits, rate_name))
        sent = self._addresses[address].sent
        bucket = sent.get(rate_name)
        if bucket is None:
            bucket = sent[rate_name] = _Bucket(rate, now)
        bucket.take(count)
        return max(0.0, -bucket.tokens(rate, now) / rate)

    def make_room(self, *, needed: bool) -> bool:
        """Ends the connection that has waited longest without a request; returns False if there is none.

        Waiting connections have `PATIENCE_SECONDS`. Those of the reserve have none when a descriptor is needed: a
        request follows its connection at once.
        """
        place = next(iter(self.waiting), None)
        if place is None or self._clock() - place.since < PATIENCE_SECONDS:
            place = next(iter(self.reserve), None) if needed else None
        if place is None or place.end is None:
            return False
        end, place.end = place.end, None
        self.waiting.pop(place, None)
        self.reserve.pop(place, None)
        end()
        return True

    def answers_when_short(self, path: bytes) -> bool:
        """Returns whether a request for `path` is answered when descriptors are short."""
        named = path.partition(b"?")[0].decode(errors="replace")
        return any(named == one or named.startswith(f"{one}/") for one in self._limits.short_paths)

    def refused(self, code: ErrorCode, problem: str, *, host: str) -> CodedError:
        """Counts and logs a refusal; returns the error."""
        self._refusals.add(code, host)
        return CodedError(code, f"{problem}: come back later")

    def _join(self, host: str, now: float) -> str:
        """Counts a new connection at the address of `host`, which is returned."""
        rate = self._limits.address_connects_per_second
        most = self._limits.address_connections
        address = site_of(host)
        known = self._addresses.get(address)
        if known is None:
            known = self._addresses[address] = _Address(_Bucket(rate, now))
            self._idle[address] = None
            self._forget_one(now)
        if known.connections >= most:
            problem = f"{address} has the {most} connections that an address may have"
            raise self.refused(ErrorCode.TOO_MANY_CONNECTIONS, problem, host=host)
        if known.bucket.tokens(rate, now) < 1:
            problem = f"{address} opens more than {rate} connections per second"
            raise self.refused(ErrorCode.CONNECTS_TOO_FAST, problem, host=host)
        known.bucket.take()
        known.connections += 1
        self._idle.pop(address, None)
        return address

    def _forget_one(self, now: float) -> None:
        """Forgets the addresses that are idle for longest: up to two, so that the table shrinks while others come."""
        rate = self._limits.address_connects_per_second
        for _ in range(min(2, len(self._idle) - 1)):
            address = next(iter(self._idle))
            known = self._addresses[address]
            full = known.bucket.tokens(rate, now) >= rate * BURST_SECONDS
            for name, bucket in known.sent.items():
                most = getattr(self._limits, name)
                full = full and bucket.tokens(most, now) >= most * BURST_SECONDS
            if not full and len(self._idle) <= IDLE_ADDRESSES:
                return
            del self._idle[address], self._addresses[address]


def place_of(scope: Mapping[str, Any]) -> Place | None:
    """Returns the place of the connection of an ASGI scope; None where no `Places` are in use."""
    found = (scope.get("extensions") or {}).get(PLACE)
    return found if isinstance(found, Place) else None


class _Refusals:
    """Counts refusals, and logs the first at once and the rest in one line per `LOG_SECONDS`."""

    def __init__(self, count: Callable[[ErrorCode], None]) -> None:
        self._count = count
        self._unlogged = 0
        self._latest: tuple[ErrorCode, str]
        self._timer: asyncio.TimerHandle | None = None

    def add(self, code: ErrorCode, host: str) -> None:
        """Counts a refusal of `host`."""
        self._count(code)
        self._unlogged += 1
        self._latest = code, host
        if self._timer is None:
            self._log()

    def _log(self) -> None:
        self._timer = None
        if self._unlogged:
            code, host = self._latest
            log(Event.NO_PLACE, connections=self._unlogged, address=host, reason=code.value)
            self._unlogged = 0
            self._timer = asyncio.get_running_loop().call_later(LOG_SECONDS, self._log)

"""Channels that wait for the shard to say where they stand."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ...core.publication import Position
from ...errors import BackplaneDownError
from ..frames import read_text
from ..port import ONLY_LOOK, Arrival, Done, Opened

_CHANNELS: Final = 100  # in one script: under a millisecond of the engine's time
_ANSWER_BYTES: Final = 1_048_576  # at which the script stops
_LEAST_ANSWER_BYTES: Final = 65_536
_EPOCH_BYTES: Final = 6
_WAITING: Final = 1_000_000  # channels of interruptions come at once; strangers' handshakes are bounded before


class _Open(NamedTuple):
    channel: str
    since: Position | None
    done: Done
    gives_up_at: float


class Opens:
    """Owns the invariant that one script is in flight, and that everybody who asks is answered.

    Args:
        prefix: Of the shard's keys.
        channel_ms: How long a channel stays that nobody publishes to, opens or touches.
        unpublished_ms: How long that is before its first publication.
        send: Sends the script, with its keys and arguments; calls back with the reply.
    """

    def __init__(
        self,
        prefix: str,
        *,
        channel_ms: int,
        unpublished_ms: int,
        send: Callable[[list[str], list[str], Callable[[Any], None]], None],
    ) -> None:
        self._prefix = prefix
        self._stays = [str(channel_ms), str(min(channel_ms, unpublished_ms))]
        self._send = send
        self._waiting: deque[_Open] = deque()
        self._in_flight: list[_Open] = []
        self._alone = 0  # how many of those that wait are asked for one by one
        self._answer_bytes = _ANSWER_BYTES  # fewer where links are lost over answers: the engine bounds them too

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    def enter(self, channel: str, since: Position | None, done: Done, *, gives_up_at: float) -> None:
        """Takes in a channel; a later call of `go_on` sends it."""
        if len(self._waiting) >= _WAITING:
            done(BackplaneDownError(f"{_WAITING} channels wait for it already"))
        else:
            self._waiting.append(_Open(channel, since, done, gives_up_at))

    def go_on(self, generation: int) -> None:
        """Sends the next script, if none is in flight."""
        if self._in_flight or not self._waiting:
            return
        count = 1 if self._alone else min(_CHANNELS, len(self._waiting))
        self._alone = max(0, self._alone - 1)
        self._in_flight = [self._waiting.popleft() for _ in range(count)]
        prefix = self._prefix
        keys = [f"{prefix}shard", *[f"{prefix}m:{one.channel}" for one in self._in_flight]]
        looks, wanted = "", []
        for place, (channel, since, *_) in enumerate(self._in_flight, 1):
            if since is ONLY_LOOK:
                looks += f" {place} "
            elif since is not None:
                keys.append(f"{prefix}h:{channel}")
                wanted += [str(place), since.epoch, str(since.offset)]
        args = [str(generation), secrets.token_hex(_EPOCH_BYTES), *self._stays, str(self._answer_bytes)]
        self._send(keys, [*args, str(count), looks, *wanted], lambda reply: self._answered(generation, reply))

    def lost(self) -> None:
        """Takes back what is in flight: it is asked again on the next link."""
        if self._in_flight:
            self._answer_bytes = max(_LEAST_ANSWER_BYTES, self._answer_bytes // 4)
        self._waiting.extendleft(reversed(self._in_flight))
        self._in_flight = []

    def refused(self, why: str) -> None:
        """Hears that the script has failed: who asked for the one channel is told; several are asked for one by one."""
        asked, self._in_flight = self._in_flight, []
        if len(asked) == 1:
            asked[0].done(BackplaneDownError(why))
        else:
            self._waiting.extendleft(reversed(asked))
            self._alone = len(asked)

    def give_up(self, now: float, why: str) -> None:
        """Answers those who have waited for too long."""
        while self._waiting and self._waiting[0].gives_up_at <= now:
            self._waiting.popleft().done(BackplaneDownError(why))

    def shut(self) -> None:
        """Answers all."""
        self.lost()
        while self._waiting:
            self._waiting.popleft().done(BackplaneDownError("the server stops"))

    def _answered(self, generation: int, reply: list[Any]) -> None:
        engine_ms, *answers = reply
        ahead_ms = time.time_ns() // 1_000_000 - engine_ms  # clocks of machines differ, and ages are looked at here
        opened = [_opened(found, ahead_ms) for found in answers]
        self._answer_bytes = min(_ANSWER_BYTES, 2 * self._answer_bytes)
        answered = list(zip(self._in_flight, opened, strict=True))
        self._in_flight = []
        self._waiting.extendleft(reversed([one for one, found in answered if found is None]))
        for one, found in answered:
            if found is not None:
                one.done(found)
        self.go_on(generation)


def _opened(found: bytes | list[bytes] | None, ahead_ms: int) -> Opened | None:
    """Returns an answer: with the newest texts up to one that cannot be read, or is not in its place; None for none.

    Whoever has written such a text concerns nobody but those who want the history of that channel: they get a gap.
    """
    if found is None:
        return None
    position, *texts = found if isinstance(found, list) else [found]
    epoch, _, offset = position.decode(errors="replace").rpartition(" ")
    head = int(offset)
    publications: list[Arrival] = []
    for text in reversed(texts):
        try:
            arrival = read_text(text)
        except (ValueError, KeyError):
            break
        if (arrival.epoch, arrival.offset) != (epoch, head - len(publications)):
            break
        publications.append(arrival._replace(at_ms=arrival.at_ms + ahead_ms))
    return Opened(epoch, head, publications[::-1])

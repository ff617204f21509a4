"""The stream of one channel, without I/O: nothing twice, nothing backwards, and no hole without a gap."""

from __future__ import annotations

import logging
from typing import Final, TypeAlias

from ..core.publication import Position
from .codec import Arrival, Filter, Gap, Message, encode_subscribe
from .errors import SubscribeError
from .presence import Change, PresenceGap

logger = logging.getLogger("fanwise.client")

Told: TypeAlias = Message | Gap  # of the log
Item: TypeAlias = Told | Change

# Two servers behind one address that do not know of each other: a client that changes from one to the other and back
# finds the log it came from. More than a handful of logs of one channel live nowhere at once.
_EPOCHS = 8
_SKIPPED: Final = 10_000  # offsets of one's own that are remembered until what is before them has come

_NOWHERE = Position("", 0)

_MAX_OFFSET = 2**63 - 1  # what fits into an integer of 64 bits, as JSON readers have them


def _check(channel: str, since: Position | None, last: int | None) -> None:
    if since is None:
        return
    if last is not None:
        message = "since and last are two places to begin at: give one"
        raise SubscribeError(channel=channel, code="wrong_type", message=message)
    epoch, offset = since
    if not (isinstance(epoch, str) and isinstance(offset, int) and 0 <= offset <= _MAX_OFFSET):
        message = (
            f"since is {since!r}; it takes Position(epoch, offset): a string and an integer from 0 to {_MAX_OFFSET}"
        )
        raise SubscribeError(channel=channel, code="wrong_type", message=message)


class Track:
    """The stream of one subscribed channel, over as many connections as it takes.

    Owns the invariant that its messages and gaps together tile each log without overlap.

    Args:
        channel: The channel's name.
        since: Begins after this position.
        last: Begins so many publications before the head.
        wanted: Only publications with these tags come, and the offsets of others are no gap.
        presence: Joins and leaves of users come as well.

    Attributes:
        channel: The channel's name.
        received: The position received last, and `since` of the next connection; None before the first answer
            to a subscription that begins at the head.
        handed: The position handed to the program last.
        duplicates: Messages and gaps that came again and were dropped.
    """

    __slots__ = (
        "_asked",
        "_epoch",
        "_last",
        "_offsets",
        "_presence",
        "_skipped",
        "_verified",
        "_wanted",
        "channel",
        "duplicates",
        "handed",
        "received",
    )

    def __init__(
        self,
        channel: str,
        since: Position | None = None,
        *,
        last: int | None = None,
        wanted: Filter | None = None,
        presence: bool = False,
    ) -> None:
        _check(channel, since, last)
        self.channel = channel
        self._last = last
        self._wanted = dict(wanted) if wanted else None
        self._presence = presence
        self._asked = False  # whether an answer has come already
        self.received = since
        self.handed = since
        self.duplicates = 0
        self._epoch = ""  # of the log that this connection shows
        self._skipped: set[int] = set()  # offsets of that log that do not come, and are no hole
        self._verified = False  # whether `received` is the server's word, not only the program's
        # {epoch: offset up to which it has come in}, the newest last
        self._offsets: dict[str, int] = {} if since is None else {since.epoch: since.offset}

    def request(self) -> str:
        """Returns the frame that asks a connection for the stream."""
        return encode_subscribe(
            self.channel, self.received, last=self._last, wanted=self._wanted, presence=self._presence
        )

    def begin(self, position: Position) -> list[PresenceGap]:
        """Begins the stream of a new connection, after `position`; returns the items for that.

        Between two connections users come and leave untold, which a `PresenceGap` says. `received` stays until the
        first gap or message of another epoch: a connection lost before that must not lose the gap.
        """
        self._epoch = position.epoch
        self._skipped.clear()
        if self.received is None:
            self._advance(position)
            self.handed = position
        elif self.received.epoch == position.epoch and position.offset < self.received.offset and not self._verified:
            # The program's position never was in this log. As good as none: what comes now is a turn to another log.
            logger.warning("%s has no offset %d: it goes on after %s", self.channel, self.received.offset, position)
            self.received = _NOWHERE
            self._offsets.clear()
        self._verified = True
        again, self._asked = self._asked, True
        return [PresenceGap(self.channel)] if again and self._presence else []

    def arrive(self, arrival: Arrival) -> list[Told]:
        """Returns the items for a message: a gap if it leaves a hole, and the message; nothing for a repetition."""
        epoch = self._epoch
        if arrival.offset <= self._have(epoch):
            self.duplicates += 1
            return []
        self._go_past()
        items = self._hole(epoch, before=arrival.offset, turned=self._turned(epoch))
        self._advance(Position(epoch, arrival.offset))
        self._go_past()
        return [*items, Message(self.channel, epoch, arrival.offset, arrival.data, arrival.key, arrival.tags)]

    def pass_over(self, position: Position) -> None:
        """Hears of a publication that is the client's own and does not come, perhaps before others in front of it."""
        new = position.epoch == self._epoch and position.offset > self._have(position.epoch)
        if new and len(self._skipped) < _SKIPPED:
            self._skipped.add(position.offset)
            self._go_past()

    def skip(self, gap: Gap) -> list[Told]:
        """Returns the items for a gap that the server sent: the part that is new."""
        have = self._have(gap.epoch)
        turned = self._turned(gap.epoch)
        if gap.last <= have and not turned:
            self.duplicates += 1
            return []
        items = self._hole(gap.epoch, before=gap.first, turned=turned and gap.reason != "epoch")
        first = max(gap.first, have + 1)
        last = max(gap.last, first - 1)
        self._epoch = gap.epoch
        self._advance(Position(gap.epoch, last))
        return [*items, Gap(self.channel, gap.epoch, first, last, gap.reason)]

    def hand(self, item: Item) -> None:
        """The program has `item` now."""
        if isinstance(item, Message):
            self.handed = item.position
        elif isinstance(item, Gap):
            self.handed = Position(item.epoch, item.last)

    def _hole(self, epoch: str, *, before: int, turned: bool) -> list[Told]:
        """Returns the gap before offset `before` of log `epoch` that the server did not send, if there is one.

        An unannounced turn to another log is a gap too, even if nothing of the new log is missing. Publications without
        the wanted tags leave holes, which are none.
        """
        first = self._have(epoch) + 1
        last = first - 1 if self._wanted else max(before - 1, first - 1)
        if last < first and not turned:
            return []
        logger.error(
            "%s: %d to %d of log %s are missing, and the server told of no gap", self.channel, first, last, epoch
        )
        return [Gap(self.channel, epoch, first, last, "unknown")]

    def _go_past(self) -> None:
        """Goes past what comes next and is skipped, in the log that `received` belongs to."""
        while (
            self._skipped and not self._turned(self._epoch) and (offset := self._have(self._epoch) + 1) in self._skipped
        ):
            self._skipped.discard(offset)
            self._advance(Position(self._epoch, offset))

    def _turned(self, epoch: str) -> bool:
        """Returns whether `epoch` is another log than that of `received`."""
        return self.received is not None and self.received.epoch != epoch

    def _have(self, epoch: str) -> int:
        """Up to which offset of log `epoch` the stream has come in; 0 for nothing."""
        if self.received is not None and self.received.epoch == epoch:
            return self.received.offset
        return self._offsets.get(epoch, 0)

    def _advance(self, position: Position) -> None:
        self.received = position
        self._offsets.pop(position.epoch, None)
        self._offsets[position.epoch] = position.offset
        if len(self._offsets) > _EPOCHS:
            del self._offsets[next(iter(self._offsets))]

"""The messages of the stream: each is applied once and in order, and what is missing is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ...logs.events import Event, log
from ..counts import Counts
from ..port import Arrival
from .link import Delivery, Link
from .messages import Head, Message, channel_of, read

_HEADS: Final = 16_384  # channels of which it is known where they stand
NANOSECONDS_PER_MS: Final = 1_000_000
UNACKNOWLEDGED: Final[dict[str, Any]] = {"ack_policy": "none", "mem_storage": True, "num_replicas": 1}  # consumers
_FLOW_CONTROL: Final = 100
_OLD_TOKENS: Final = 9  # of the subject to which a message would be acknowledged; later ones name domain and account


class Tail:
    """Owns the invariant that all messages up to `number` of the stream were applied, or told to be lost.

    Args:
        arrived: Hears the publications of a message; returns False if no more are wanted for now.
        interrupted: Hears that messages are lost.
        heard: Hears each message, before its publications are applied.
        counts: Counts turns and holes.

    Attributes:
        number: Sequence of the newest message that was applied.
        place: Sequence and time in ns of the newest message that was heard itself; (0, 0) for none.
        holes: How often messages were lost.
        heads: {channel: where it stands}, of the channels that were heard of lately.
    """

    def __init__(
        self,
        *,
        arrived: Callable[[Sequence[Arrival]], bool],
        interrupted: Callable[[], None],
        heard: Callable[[Message], None],
        counts: Counts,
    ) -> None:
        self._counts = counts
        self.number = 0
        self.place = (0, 0)
        self.holes = 0
        self.heads: dict[str, Head] = {}
        self._arrived = arrived
        self._interrupted = interrupted
        self._heard = heard
        self._link: Link | None = None

    def begin(self, link: Link) -> None:
        """Hears what is delivered on a link from now on."""
        self._link = link

    def turned(self, number: int, *, first: bool) -> None:
        """Stands at `number` of another life."""
        self.number, self.place = number, (0, 0)
        self.heads.clear()
        if not first:
            self._counts.turns += 1
            log(Event.BACKPLANE_TURNED)
            self.holes += 1
            self._interrupted()

    def lost(self) -> None:
        """Hears that the link has gone."""
        self._link = None

    def delivered(self, link: Link, delivery: Delivery) -> None:
        """Applies a message, if it is the next one; tells that what is missing before it is lost."""
        if link is not self._link:
            return
        if delivery.status:
            _answer_flow_control(link, delivery)
            return
        sequence, time_ns = place_of(delivery.reply)
        if sequence <= self.number:
            return
        if sequence > self.number + 1:
            self.hole(sequence - 1)
        self.number, self.place = sequence, (sequence, time_ns)
        message = read(channel_of(delivery.subject), sequence, time_ns // NANOSECONDS_PER_MS, delivery.data)
        self.remember(message.channel, message.head)
        self._heard(message)
        if message.arrivals and not self._arrived(message.arrivals):
            link.pause()

    def hole(self, last: int) -> None:
        """Hears that the stream has the messages up to `last` no more."""
        self._counts.holes += 1
        log(Event.BACKPLANE_HOLE, frames=last - self.number)
        self.number = last
        self.holes += 1
        self._interrupted()

    def remember(self, channel: str, head: Head) -> None:
        """Notes where a channel stands, unless more is known. O(1)."""
        known = self.heads.pop(channel, None)
        self.heads[channel] = head if known is None or known.sequence < head.sequence else known
        if len(self.heads) > _HEADS:
            del self.heads[next(iter(self.heads))]


def consumer(after: int, inbox: str) -> dict[str, Any]:
    """Returns the configuration of a consumer that delivers all that follows `after` to `inbox`, and all that comes."""
    return {
        **UNACKNOWLEDGED,
        **starts_after(after),
        "deliver_subject": inbox,
        "flow_control": True,  # the server waits for us: what is on its way is bounded
        "idle_heartbeat": 5_000_000_000,
    }


def starts_after(sequence: int) -> dict[str, Any]:
    """Returns what has a consumer begin behind a message."""
    return {"deliver_policy": "by_start_sequence", "opt_start_seq": sequence + 1}


def _answer_flow_control(link: Link, delivery: Delivery) -> None:
    """Lets the server go on: it has asked, or says in a heartbeat that it waits."""
    if delivery.status != _FLOW_CONTROL:
        return
    subject = delivery.reply
    for line in delivery.headers.split(b"\r\n"):
        if line.lower().startswith(b"nats-consumer-stalled:"):
            subject = line.split(b":", 1)[1].strip()
    if subject:
        link.publish(subject.decode(), b"")


def pending_of(reply: bytes) -> int:
    """Returns how many messages the consumer has after a delivered one."""
    tokens = reply.split(b".")
    return int(tokens[8 if len(tokens) == _OLD_TOKENS else 10])


def place_of(reply: bytes) -> tuple[int, int]:
    """Returns the sequence of a delivered message, and its time in ns."""
    tokens = reply.split(b".")
    shift = 0 if len(tokens) == _OLD_TOKENS else 2
    return int(tokens[5 + shift]), int(tokens[7 + shift])

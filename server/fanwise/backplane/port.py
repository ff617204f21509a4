"""The port: what a node asks of a backplane, and what a backplane tells the node.

Promises, which `tests/backplane/test_port.py` holds against each engine:

1. A publication is acknowledged when the engine has it, with the position that every node sees.
2. Nodes hear a channel's publications in one order. Offsets are dense from 1 in each epoch, and none comes twice, but
   for those that a channel was opened with: a node skips what is not above its head.
3. `done` of `open` is called between arrivals: the head is what came before, and all later ones follow.
4. What cannot be had is interrupted, and never missing in silence.
5. An epoch names one content: no two payloads ever stand at one position.
6. Publications of one node to one channel keep their order.
7. Nothing waits without a bound.
8. A publication with a request is published once in five minutes, on whichever node and however often it is sent.

Everything runs on the event loop's thread, and no call blocks.

Workers of one engine see each other through a `Fleet`, which promises nothing: `tests/backplane/test_fleet.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

from ..core.filters import Tags
from ..core.publication import Kind, Position
from .counts import Counts
from .together import Together


class Once(NamedTuple):
    """A request to publish, by which the engine knows a publication again.

    Attributes:
        key: Names the request; hexadecimal.
        digest: Of the request's content; hexadecimal. Another one under the same key is a mistake.
    """

    key: str
    digest: str


ONLY_LOOK: Final = Position("?", 0)  # a `since` with which `Backplane.open` begins no channel; no epoch is so called
CARD_SECONDS: Final = 5.0
CARD_BYTES: Final = 1_024
QUESTION_BYTES: Final = 131_072
ANSWER_BYTES: Final = 1_048_576
OPEN_QUESTIONS: Final = 64  # of one worker
WORKERS: Final = 1_024  # that are listed


class Outgoing(NamedTuple):
    """A publication on its way to the engine.

    Attributes:
        exclude: The id of a client that does not get it, on whichever node; None: everybody gets it.
        span: Names its span, if that is sampled: hexadecimal, 32 digits of the trace, "-" and 16 of the span.
    """

    channel: str
    payload: bytes
    kind: Kind
    key: str | None = None
    once: Once | None = None
    tags: Tags | None = None
    exclude: str | None = None
    span: str | None = None


class Arrival(NamedTuple):
    """A publication that the engine has given its place.

    Attributes:
        at_ms: When the engine took it, in milliseconds of the engine's wall clock; of this machine's, where a channel
            is opened with it.
        exclude: The id of a client that does not get it; None: everybody gets it.
        span: Names its span, if that is sampled; None: it has none.
        more: Payloads of the publications at the offsets behind it, which share channel, epoch, kind and time with it.
            They have nothing else, and nor has it then.
    """

    channel: str
    epoch: str
    offset: int
    payload: bytes
    kind: Kind
    key: str | None
    at_ms: int
    tags: Tags | None = None
    exclude: str | None = None
    span: str | None = None
    more: Sequence[bytes] = ()

    def each(self) -> Iterator[Arrival]:
        """Yields its publications, one by one."""
        yield self._replace(more=())
        for offset, payload in enumerate(self.more, self.offset + 1):
            yield Arrival(self.channel, self.epoch, offset, payload, self.kind, None, self.at_ms)


class Opened(NamedTuple):
    """Where a channel stands.

    Attributes:
        epoch: Names the channel's log.
        head: Offset of the newest publication; 0 before the first.
        publications: What was asked for: contiguous, and the last one is the head. May begin later than asked, and
            is empty where nothing was asked for.
    """

    epoch: str
    head: int
    publications: Sequence[Arrival]


class Standing(NamedTuple):
    """How a backplane is.

    Attributes:
        up: Whether publications can be taken now.
        behind: Frames that the engine has, and that this node has not heard, as of the latest check.
        silent_seconds: Since something was heard of the engine, or since its connection was lost; infinite before the
            first time.
        engine: Its name and version; empty while unknown.
        why: What is wrong; empty while nothing is.
    """

    up: bool
    behind: int
    silent_seconds: float
    engine: str
    why: str


Done: TypeAlias = Callable[[Opened | Exception], None]
"""Hears where a channel stands, or why that cannot be known."""


class Listener(Protocol):
    """A node, as a backplane calls it: synchronously, in the engine's order."""

    def arrived(self, arrivals: Sequence[Arrival]) -> bool:
        """Hears of publications. False: the node wants no more of them until it calls `Backplane.go_on`."""

    def interrupted(self, concerns: Callable[[str], bool]) -> None:
        """Hears that publications to channels for which `concerns` is true may be lost.

        Each of these channels has to be opened anew, after the head that the node has.
        """

    def in_use(self, *, published: bool) -> Iterator[str]:
        """Yields the names of the channels with clients: of all, or of those without a publication.

        The engine is to remember where they stand. Channels may come and go meanwhile.
        """


class Backplane(Protocol):
    """A connection of one node to an engine.

    Attributes:
        counts: What the node counts of it.
    """

    counts: Counts

    async def start(self, listener: Listener) -> None:
        """Begins to connect, and returns whether or not the engine can be reached.

        Raises:
            SettingsError: The engine was reached, and refuses: password, rights, version, role.
        """

    async def stop(self) -> None:
        """Ends the connection. What waits fails with BackplaneDownError, or with UnconfirmedError if it was sent."""

    def publish(self, outgoing: Outgoing, together: Together | None = None) -> asyncio.Future[Position]:
        """Publishes. The future raises BackplaneDownError (not published) or UnconfirmedError (perhaps published).

        It raises IdempotencyError where another request has the same key. With `together` that hears it, and its future
        is returned.
        """

    def open(self, channel: str, since: Position | None, done: Done) -> None:
        """Asks where a channel stands, with what came after `since` if that is given.

        A `since` of another epoch gets everything that the engine retains. With `ONLY_LOOK` there are no publications,
        and a channel that the engine does not know has an empty epoch and the head 0; else it begins. `done` may hear a
        BackplaneDownError.
        """

    def go_on(self) -> None:
        """Lets arrivals come again, after `Listener.arrived` has returned False."""

    def standing(self) -> Standing:
        """Returns how the backplane is. O(shards)."""

    def fleet(self) -> Fleet:
        """Returns a connection to the other workers, which is not started yet."""


Asked: TypeAlias = Callable[[bytes, Callable[[bytes], None]], None]
"""Hears a question of another worker, and what takes the answer: at most ANSWER_BYTES, once, or never."""
Heard: TypeAlias = Callable[[str, bytes], None]
"""Hears a worker's name and its answer."""


class Fleet(Protocol):
    """The workers behind one engine, as one of them sees the others. O(1), but for `workers`.

    Questions and answers may be lost, and none comes twice. The card of a worker that has gone is kept for
    CARD_SECONDS at most.

    Attributes:
        worker: The worker's own name, 8 hexadecimal digits; another one at each start.
    """

    worker: str

    async def start(self, asked: Asked) -> None:
        """Begins to connect, and returns whether or not the engine can be reached."""

    async def stop(self) -> None:
        """Takes the card back, and ends the connection."""

    def announce(self, card: bytes) -> None:
        """Keeps the worker's card, of CARD_BYTES at most, where all can read it. To be called once a second."""

    async def workers(self) -> dict[str, bytes]:
        """Returns {name: card} of the workers, the caller among them. Raises BackplaneDownError."""

    def ask(self, question: bytes, heard: Heard, *, to: str = "") -> Callable[[], None]:
        """Asks all other workers, or one, a question of QUESTION_BYTES at most. `heard` hears each of them once.

        Returns what ends it: afterwards `heard` hears nothing.

        Raises:
            BackplaneDownError: OPEN_QUESTIONS are open already.
        """

"""Sinks: where a client's bytes go. A client knows these Protocols, never the server that is behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

from ..core.lease import Lease
from ..core.publication import Kind
from ..core.queue import Batch
from ..core.reasons import CloseReason

EXTENSION = "fanwise"  # the key in scope["extensions"] under which our protocol class offers a connection


class Message(NamedTuple):
    """One message: bytes, or text in UTF-8."""

    payload: bytes
    binary: bool


Received: TypeAlias = tuple[Kind, bytes]
"""A message from a client: TEXT, of which the source has checked that it is UTF-8, or BINARY."""


class SinkOwner(Protocol):
    """A sink's client, as the sink calls it: always from the event loop's own turn."""

    def sink_paused(self) -> None:
        """Something is buffered: nothing may be written beside the sink from now on."""

    def sink_resumed(self) -> None:
        """Nothing is buffered any more."""

    def sink_receiving(self, *, held: bool) -> None:
        """Bytes received and not read yet have become worth counting (`ReceivingSink`), or are so no more."""

    def sink_ponged(self, rtt_seconds: float) -> None:
        """The peer has answered a ping, so long after it was sent."""

    def sink_unanswered(self, seconds: float) -> bool:
        """The peer has not answered a ping for so long. Returns whether it may stay while its kernel answers."""

    def sink_closed(self, reason: CloseReason) -> None:
        """Nothing can be written any more, because of what the peer or the server did."""


Client_contra = TypeVar("Client_contra", contravariant=True)


class ClientOwner(Protocol[Client_contra]):
    """The event loop and the node, as a client calls them. `pause_seconds`: of the longest pause that is forgiven."""

    pause_seconds: float

    @property
    def enlist(self) -> Callable[[Callable[[], bool]], None]:
        """Has a step called when it is its turn, and again as long as the step returns True. The step never raises."""

    def start_task(self, client: Client_contra, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts the client's task; aborts the client with INTERNAL should the task end before the client has."""

    def changed(self, client: Client_contra) -> None:
        """Hears that the client's state has changed."""

    def receiving(self, client: Client_contra, *, held: bool) -> None:
        """Hears whether the client's `received_bytes` are worth counting."""

    def ponged(self, rtt_seconds: float) -> None:
        """Hears how long a pong took."""

    def failed(self, client: Client_contra, error: Exception) -> None:
        """Hears that serving the client has raised `error`: the client is to be aborted."""

    def send(self, client: Client_contra, payload: Any) -> None:
        """Sends a payload to one client, within its bounds; raises what `Client.send` does."""

    @property
    def detours(self) -> Mapping[Any, None]:
        """What keeps clients from joining their ready groups when they have caught up (`Hub.detours`)."""

    def detour(self, client: Client_contra, max_bytes: int) -> tuple[Any, Batch] | None:
        """Returns what a client that has caught up has still to take, with its place; None: it may join."""


class Sink(Protocol):
    """Takes messages, one batch at a time, at the pace of the peer."""

    def attach(self, owner: SinkOwner) -> None:
        """Makes `owner` hear what becomes of the connection, from now on or at once if it has ended. Called once."""

    @property
    def writable(self) -> bool:
        """Whether the connection is open and nothing is buffered."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait in user space for the peer; 0 if unknown."""

    @property
    def taken(self) -> int:
        """Number of messages that `send` has handed over, ever: `send` may end or be cancelled within a batch."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Hands over the non-empty `messages`; returns when the sink can be asked for `writable` again."""

    async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        """Starts the closing handshake behind what is buffered, and sees to an end `within_seconds` if it can.

        Takes as long as the peer likes: the caller bounds the time too, and aborts.
        """

    def abort(self) -> None:
        """Ends the connection now, whatever is buffered."""


@runtime_checkable
class DirectSink(Sink, Protocol):
    """A sink that also takes bytes, synchronously: sweeps write to the sink without waking its client."""

    @property
    def lease(self) -> Lease:
        """The right to write to the socket beside `write`, while `writable`. It ends before the sink does."""

    def write(self, data: bytes | memoryview) -> None:
        """Writes or buffers all of `data`; what it could not write at once makes it not `writable`. Never raises."""


def lease_of(sink: Sink) -> Lease | None:
    """Returns the lease of a `DirectSink`; None for others. CPython 3.11's `isinstance` takes 20 times as long."""
    lease: Lease | None = getattr(sink, "lease", None)
    return None if lease is None or getattr(sink, "write", None) is None else lease


class ReceivingSink(Sink, Protocol):
    """A sink that also knows what its connection has received."""

    @property
    def received_bytes(self) -> int:
        """Bytes of unfinished frames and messages, and of messages that are not read yet. O(1)."""


class AskedSink(Sink, Protocol):
    """A sink whose kernel asks the peer's kernel for signs of life while that takes nothing."""

    def unanswered_packets(self) -> int | None:
        """Returns how many packets in a row the peer's kernel has not answered; None if unknown."""

    def ask_every(self, seconds: float) -> None:
        """Has the kernel ask so often, at least, where it can be told."""


def asked(sink: Sink) -> AskedSink | None:
    """Returns `sink` if it is an `AskedSink`. CPython 3.11's `isinstance` takes 20 times as long for a Protocol."""
    return cast("AskedSink", sink) if hasattr(sink, "unanswered_packets") else None


class Source(Protocol):
    """A client's messages."""

    def __aiter__(self) -> AsyncIterator[Received]:
        """The source itself, for one reader at a time."""

    async def __anext__(self) -> Received:
        """The next message."""

    def end(self) -> None:
        """Ends the iteration once the messages that are already here were read. Idempotent."""


class LateSource:
    """A source that listens from the first message that is asked for. Owns the invariant that it ends once ended."""

    def __init__(self, listen: Callable[..., Source]) -> None:
        self._listen = listen
        self._source: Source | None = None
        self._ended = False

    def __aiter__(self) -> AsyncIterator[Received]:
        if self._source is None:
            self._begin(self._listen())
        assert self._source is not None
        return aiter(self._source)

    def listen(self, heard: Heard) -> None:
        """Listens from now on; `heard` is called for each message."""
        self._begin(self._listen(heard))

    def _begin(self, source: Source) -> None:
        self._source = source
        if self._ended:
            source.end()

    def end(self) -> None:
        """Ends the iteration once the messages that are already here were read. Idempotent."""
        self._ended = True
        if self._source is not None:
            self._source.end()


class Decoded:
    """Messages as applications read them: text as str, binary as bytes."""

    def __init__(self, received: AsyncIterator[Received]) -> None:
        self._received = received

    def __aiter__(self) -> Decoded:
        return self

    async def __anext__(self) -> str | bytes:
        kind, data = await anext(self._received)
        return data.decode() if kind is Kind.TEXT else data


Heard: TypeAlias = Callable[[Kind, bytes], None]
"""Hears of one message of a client."""
Work: TypeAlias = Callable[[Kind, bytes], Coroutine[Any, Any, None] | None]
"""Works on one message of a client; what it returns, if anything, is awaited before the next one is worked on.

Work that is a method of an object with a method `at_once` takes several texts together: `at_once` works on all of them,
or on none and returns False.
"""


@runtime_checkable
class Offer(Protocol):
    """A WebSocket, as our protocol class offers it in `scope["extensions"]`."""

    @property
    def connection(self) -> DirectSink | None:
        """The connection, whose socket may be written to; None before the handshake was answered."""

    def listen(self, heard: Heard | None = None) -> Source:
        """Takes over what the peer sends, from now on and from what the application has not read yet.

        `heard` is called for each message as it comes.
        """

    def detach(self, work: Work, *, failed: Callable[[Exception], None], heard: Heard | None = None) -> None:
        """Has messages worked on from now on, also when the endpoint has returned; `failed` is called for an error.

        `heard` is called for each message as it comes, before that is worked on.
        """

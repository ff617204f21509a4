"""Publishing: into the log at once, and to the sockets at the pace of the sweeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from ..core.channel import Channel
from ..core.filters import Tags, check_tags
from ..core.hub import Hub
from ..core.publication import Kind, Position, Publication
from ..errors import MessageTooBigError, NotRunningError, PayloadError, ThreadError
from .sweep import OsWriter, Sweeper, SweepWriter

if TYPE_CHECKING:
    from .tracing.spans import Spans

Payload: TypeAlias = Any
"""`str`: text. `bytes`, `bytearray`, `memoryview`: binary. Anything else: JSON.

JSON is what orjson has a word for, dataclasses and dates too; models of pydantic, under their aliases; and Decimals,
which become strings as in those models, since a number of JSON may lose digits.
"""

_TEXT, _JSON, _BINARY = (
    Kind.TEXT,
    Kind.JSON,
    Kind.BINARY,
)  # as globals: CPython 3.11 makes a call of each attribute of an enum
_OTHER_THREAD = (
    "publish_nowait was called in another thread than that of the broadcaster's event loop: use "
    "`broadcaster.publish_threadsafe(...)`, which other threads and routes without `async` may call"
)
_PATIENCE_SECONDS = 1.0  # several audits: publishing goes on, should there be none any more
_HOLD_SECONDS = 0.005  # between two looks at whether most clients follow again; a queue's half takes them longer


class Publisher:
    """Owns the invariant that less than a queue's worth is unswept: no log drops what ready clients have not got.

    Args:
        hub: The channels.
        max_message_bytes: The largest payload, in bytes of UTF-8 where it is text.
        slice_bytes: About how much payload one write to a client carries.
        sweep_seconds: How long a sweep may hold the event loop before it gives it back.
        open_writer: Makes the writer of the sweeps.

    Attributes:
        writer: The writer of the sweeps; None while the publisher is shut.
        thread: The thread of its event loop; 0 before the first.
        spans: What makes spans of publications; None: nothing does.
        exclude: Has a client (its id) not get the publication that was appended last (channel, position).
    """

    def __init__(
        self,
        hub: Hub,
        *,
        max_message_bytes: int,
        slice_bytes: int,
        sweep_seconds: float,
        open_writer: Callable[[], SweepWriter] = OsWriter,
    ) -> None:
        self.writer: SweepWriter | None = None
        self.thread = 0
        self.exclude: Callable[[str, str, Position], None] = lambda _client, _channel, _position: None
        self._open_writer = open_writer
        self.max_message_bytes = max_message_bytes
        self._hub = hub
        self.slice_bytes = min(slice_bytes, hub.queue_bytes)
        for space in hub.namespaces:
            space.slice_bytes = min(slice_bytes, space.queue_bytes)
        self._sweep_seconds = sweep_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: Sweeper | None = None
        # Done at the end of the next audit; None while no publisher waits for it.
        self._audit_future: asyncio.Future[None] | None = None
        self._append: Callable[..., Publication] = hub.publish  # or that in a span
        self._publish = self._append  # or that, and a recording behind it
        self._one_by_one = False
        self._make_sweeper: Callable[..., Sweeper] = Sweeper
        self.spans: Spans | None = None

    def trace(self, spans: Spans, *, shares: bool) -> None:
        """Has spans made of publications and deliveries from the first start on; `shares`: begun in `Sharing`."""
        self.spans, self._make_sweeper = spans, spans.sweeper
        if not shares:
            self._append = self._publish = spans.around(self._hub.publish)
            self._one_by_one = True

    def record(self, heard: Callable[[Channel, Publication], None] | None) -> None:
        """Notifies `heard` of each publication from now on; None: nobody. Costs nothing while nobody is notified."""
        publish = self._append

        def publish_and_tell(channel: Channel, *args: Any, **named: Any) -> Publication:
            publication = publish(channel, *args, **named)
            assert heard is not None
            heard(channel, publication)
            return publication

        self._publish = publish if heard is None else publish_and_tell
        self._one_by_one = heard is not None or self._append != self._hub.publish

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to sweep on `loop`."""
        self._loop = loop
        self.thread = get_ident()
        self.writer = self._open_writer()
        self._sweeper = self._make_sweeper(
            loop,
            slice_bytes=self.slice_bytes,
            sweep_seconds=self._sweep_seconds,
            write_to_all=self.writer.write_to_all,
            tally=self._hub.tally,
        )

    def shut(self) -> None:
        """Stops: nothing is published any more."""
        self.audit_ended()
        if self.writer is not None:
            self.writer.close()
        self._loop = self._sweeper = self.writer = None

    def running_loop(self) -> asyncio.AbstractEventLoop:
        """Returns the loop of the sweeps; raises NotRunningError if there is none."""
        if self._loop is None:
            raise NotRunningError
        return self._loop

    async def audited(self) -> None:
        """Waits for the end of the next audit, at most a second."""
        if self._audit_future is None:
            self._audit_future = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._audit_future}, timeout=_PATIENCE_SECONDS)

    def audit_ended(self) -> None:
        """Wakes those who wait for an audit."""
        audit, self._audit_future = self._audit_future, None
        if audit is not None:
            audit.set_result(None)

    async def append(
        self,
        channel: str,
        kind: Kind,
        data: bytes,
        *,
        key: str | None = None,
        tags: Tags | None = None,
        exclude: str | None = None,
    ) -> Publication:
        """Appends to the channel's log like `append_nowait`, at the pace of the sweeps.

        Waits when the channel is half a queue ahead of more than half of its clients: at most a second each time.
        One slow client never makes it wait, nor do slow clients that are outnumbered.

        Args:
            channel: The channel's name.
            kind: The type of `data`. The caller has checked that text is UTF-8, and JSON one JSON value.
            data: The payload.
            key: The name of the state that `data` is the newest of; or None.
            tags: What `data` is about; or None.
            exclude: The id of a client that does not get the publication; or None.

        Raises:
            ChannelLimitError: There is no room for another channel.
            ChannelNameError: The channel's name is not allowed.
            MessageTooBigError: The payload is above `max_message_bytes`.
            NotRunningError: The broadcaster was not started.
            TagError: The tags are not allowed, or too many.
        """
        while True:
            publication, waits = self.append_in_turn(channel, kind, data, key, tags)
            if exclude is not None and publication is not None:
                self.exclude(exclude, channel, publication.position)
            if waits is not None:
                await waits
            if publication is not None:
                return publication

    def append_in_turn(
        self, channel: str, kind: Kind, data: bytes, key: str | None = None, tags: Tags | None = None
    ) -> tuple[Publication | None, Coroutine[Any, Any, None] | None]:
        """Appends like `append`, as far as that can be done at once.

        Returns the publication, and what the producer has to await before its next one, if anything. None in place of
        the publication: nothing was appended, and is to be tried again after the wait.
        """
        sweeper = self._sweeper
        if sweeper is None:
            raise NotRunningError
        size = len(data)
        if size > self.max_message_bytes:
            raise MessageTooBigError(size_bytes=size, limit_bytes=self.max_message_bytes)
        if tags is not None:
            tags = check_tags(tags)
        now = time.monotonic()
        place = self._hub.channel(channel, now)  # without names: CPython 3.11 makes a call with names dearer
        space = place.namespace
        if place.crowded(space.queue_messages, space.queue_bytes - size + 1):
            if sweeper.is_due(place):  # many publish at once: each would flush in the same turn
                return None, sweeper.swept(place)
            sweeper.flush(place)
        publish = self._publish  # first: CPython 3.11 makes a call of a callable attribute dearer than this
        publication = publish(place, data, kind, now, key, tags)
        if place.queues:
            sweeper.schedule(place)
        log = place.log  # compared here first: a call for each publication would cost a hundredth of it
        if place.crowded(space.pace_messages, space.slice_bytes) or (
            (log.end - place.followed_end > space.pace_bytes or log.head - place.followed > space.pace_messages)
            and place.outruns(messages=space.pace_messages, size_bytes=space.pace_bytes)
        ):
            return publication, self._pace(place)
        return publication, None

    def append_at_once(self, channel: str, kind: Kind, data: Sequence[bytes]) -> bool:
        """Appends several publications like `append_in_turn`, if their producer need not await anything.

        Returns False if nothing was appended: the producer has to append them one after another.
        """
        hub, sweeper = self._hub, self._sweeper
        sizes = list(map(len, data))
        place, size, count = hub.find(channel), sum(sizes), len(sizes)
        if sweeper is None or place is None or not place.queues or max(sizes) > self.max_message_bytes:
            return False
        if self._one_by_one:  # as recordings and spans are
            return False
        space = place.namespace
        if place.crowded(messages=space.pace_messages - count, size_bytes=space.slice_bytes - size) or place.outruns(
            messages=space.pace_messages - count, size_bytes=space.pace_bytes - size
        ):
            return False
        hub.publish_all(place, data, kind=kind, time=time.monotonic())
        sweeper.schedule(place)
        return True

    async def _pace(self, place: Channel) -> None:
        """Waits for the next sweep, after a burst for the next audit, and while most clients are behind."""
        space = place.namespace
        if place.crowded(messages=space.pace_messages, size_bytes=space.slice_bytes):
            assert self._sweeper is not None
            await self._sweeper.swept(place)
            if place.bursting():
                await self.audited()
        if place.outruns(messages=space.pace_messages, size_bytes=space.pace_bytes):
            await self._hold(place)

    async def _hold(self, channel: Channel) -> None:
        """Waits until three of four clients follow, at most a second: the audit closes stuck clients.

        Three of four, or readers of the same speed would be dropped by halves.
        """
        ends_at = time.monotonic() + _PATIENCE_SECONDS
        while 4 * channel.count_behind() > len(channel.queues) and time.monotonic() < ends_at:  # noqa: ASYNC110 - and the time
            await asyncio.sleep(_HOLD_SECONDS)
        channel.mark_followed()

    def check_size(self, data: bytes) -> None:
        """Raises MessageTooBigError for a payload above `max_message_bytes`, NotRunningError if nothing is swept."""
        self.running_loop()
        if len(data) > self.max_message_bytes:
            raise MessageTooBigError(size_bytes=len(data), limit_bytes=self.max_message_bytes)

    def take(self, place: Channel, data: bytes, *, kind: Kind, time: float, key: str | None, tags: Tags | None) -> bool:
        """Appends what another process has published; returns whether a sweep should come before more of it.

        Args:
            place: The channel.
            data: The payload.
            kind: The type of `data`.
            time: When it was published, on the monotonic clock.
            key: The name of the state that `data` is the newest of; or None.
            tags: What `data` is about; or None.
        """
        sweeper, space = self._sweeper, place.namespace
        if sweeper is None:
            return False
        queues = place.queues
        if queues and place.crowded(space.queue_messages, space.queue_bytes - len(data) + 1):
            sweeper.flush(place)
        publish = self._publish  # first: CPython 3.11 makes a call of a callable attribute dearer than this
        publish(place, data, kind, time, key, tags)
        if not queues:
            return False
        sweeper.schedule(place)
        return place.crowded(messages=space.pace_messages, size_bytes=space.slice_bytes)

    def take_all(self, place: Channel, data: Sequence[bytes], *, kind: Kind, time: float) -> bool:
        """Appends several, or none, without key and tags, like `take`: together, where a queue has room for all."""
        sweeper, space = self._sweeper, place.namespace
        messages, size_bytes = space.queue_messages - len(data), space.queue_bytes - sum(map(len, data))
        if (
            self._one_by_one
            or sweeper is None
            or not data
            or (place.queues and place.crowded(messages, size_bytes + 1))
        ):
            crowded = False
            for one in data:
                crowded = self.take(place, one, kind=kind, time=time, key=None, tags=None) or crowded
            return crowded
        self._hub.publish_all(place, data, kind=kind, time=time)
        if not place.queues:
            return False
        sweeper.schedule(place)
        return place.crowded(messages=space.pace_messages, size_bytes=space.slice_bytes)

    def flush(self, place: Channel) -> None:
        """Sweeps a channel to its head here and now. O(its clients)."""
        if self._sweeper is not None:
            self._sweeper.flush(place)

    def append_nowait(
        self, channel: str, kind: Kind, data: bytes, key: str | None = None, tags: Tags | None = None
    ) -> Publication:
        """Appends to the channel's log and schedules its sweep. O(1). Takes and raises what `append` does.

        Raises ThreadError outside of the loop's thread.
        """
        sweeper = self._sweeper
        if sweeper is None:
            raise NotRunningError
        if get_ident() != self.thread:
            raise ThreadError(_OTHER_THREAD)
        size = len(data)
        if size > self.max_message_bytes:
            raise MessageTooBigError(size_bytes=size, limit_bytes=self.max_message_bytes)
        if tags is not None:
            tags = check_tags(tags)
        # An event loop's own clock may stand still during a turn, and ages are counted from here.
        now = time.monotonic()
        place = self._hub.channel(channel, now)  # without names: CPython 3.11 makes a call with names dearer
        space = place.namespace
        if place.crowded(space.queue_messages, space.queue_bytes - size + 1):
            sweeper.flush(place)
        publish = self._publish  # first: CPython 3.11 makes a call of a callable attribute dearer than this
        publication = publish(place, data, kind, now, key, tags)
        if place.queues:
            sweeper.schedule(place)
        return publication


def serialise(payload: Payload) -> tuple[Kind, bytes]:
    """Returns what a payload is, and its bytes.

    Raises:
        PayloadError: JSON has no word for the payload.
    """
    if isinstance(payload, str):
        return _TEXT, payload.encode()
    if isinstance(payload, bytes):
        return _BINARY, payload
    if isinstance(payload, (bytearray, memoryview)):
        return _BINARY, bytes(payload)
    try:
        return _JSON, bytes(memoryview(orjson.dumps(payload, _word_for)))  # of its own size: see `json_bytes`
    except orjson.JSONEncodeError as error:
        raise PayloadError(payload, str(error)) from error


def _word_for(value: Any) -> Any:
    """Returns what JSON has for a value that orjson has no word for."""
    if isinstance(value, Decimal):
        return str(value)
    dump = getattr(value, "model_dump_json", None)  # of pydantic's models
    if dump is None:
        raise TypeError
    return orjson.Fragment(dump(by_alias=True))

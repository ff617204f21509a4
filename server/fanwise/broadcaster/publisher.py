"""Publishing: into the log at once, and to the sockets at the pace of the sweeps."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from typing import Any, TypeAlias

import orjson

from ..core.channel import Channel
from ..core.hub import Hub
from ..core.publication import Kind, Publication
from ..errors import MessageTooBigError, NotRunningError, PayloadError
from .sweep import Sweeper

Payload: TypeAlias = Any
"""`str`: text. `bytes`, `bytearray`, `memoryview`: binary. Anything else: JSON, as far as orjson has a word for it."""

_PATIENCE_SECONDS = 1.0  # several audits: publishing goes on, should there be none any more


class Publisher:
    """Owns the invariant that less than a queue's worth is unswept: no log drops what ready clients have not got.

    Args:
        hub: Where the channels are.
        max_message_bytes: The largest payload, in bytes of UTF-8 where it is text.
        slice_bytes: About how much payload one write to a client carries.
        sweep_seconds: How long a sweep may hold the event loop before it gives it back.
    """

    def __init__(self, hub: Hub, *, max_message_bytes: int, slice_bytes: int, sweep_seconds: float) -> None:
        self.max_message_bytes = max_message_bytes
        self._hub = hub
        self._slice_bytes = min(slice_bytes, hub.queue_bytes)
        self._pace_messages = (hub.queue_messages + 1) // 2  # so many unswept, and `publish` waits for the sweep
        self._sweep_seconds = sweep_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: Sweeper | None = None
        # Done at the end of the next audit; None while nobody waits for it.
        self._audit_future: asyncio.Future[None] | None = None

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._sweeper = Sweeper(
            loop, slice_bytes=self._slice_bytes, sweep_seconds=self._sweep_seconds, tally=self._hub.tally
        )

    def _shut(self) -> None:
        self._audit_ended()
        self._loop = self._sweeper = None

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise NotRunningError
        return self._loop

    async def _audited(self) -> None:
        if self._audit_future is None:
            self._audit_future = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._audit_future}, timeout=_PATIENCE_SECONDS)

    def _audit_ended(self) -> None:
        audit, self._audit_future = self._audit_future, None
        if audit is not None:
            audit.set_result(None)

    def publish_nowait(self, channel: str, payload: Payload, *, key: str | None = None) -> Publication:
        """Appends to the channel's log and schedules its sweep. O(1), whatever the number of clients.

        Text goes out as text, bytes as a binary message, and everything else as JSON; `key` says what it is the newest
        state of, for queues whose overflow policy keeps the newest of each key. Use it in synchronous code on the loop;
        code that publishes much without ever awaiting keeps the loop, and the clients, waiting: when a queue's worth
        has piled up, it is written out from inside this call.

        Raises:
            ChannelLimitError: There is no room for another channel.
            ChannelNameError: The channel's name is not allowed.
            MessageTooBigError: The payload is above `max_message_bytes`.
            NotRunningError: The broadcaster was not started.
            PayloadError: JSON has no word for the payload.
        """
        kind, data = serialise(payload)
        return self._append(channel, kind, data, key)[1]

    async def publish(self, channel: str, payload: Payload, *, key: str | None = None) -> Publication:
        """Publishes like `publish_nowait`, at the pace of the sweeps: a slice's worth, and it waits for the next one.

        It never waits for a client; but when so much has come between two audits that one who reads may miss some of
        it, it waits for the audit, which is a quarter of a second at most. Raises what `publish_nowait` raises.
        """
        kind, data = serialise(payload)
        return await self.append(channel, kind, data, key=key)

    async def append(self, channel: str, kind: Kind, data: bytes, *, key: str | None = None) -> Publication:
        """Publishes `data` as it is, at the pace of the sweeps: the one entry, which `publish` serialises for.

        Args:
            channel: The channel's name.
            kind: What `data` is: the caller has checked that text is UTF-8, and JSON one JSON value.
            data: The payload.
            key: What it is the newest state of; None for none.

        Raises:
            ChannelLimitError: There is no room for another channel.
            ChannelNameError: The channel's name is not allowed.
            MessageTooBigError: The payload is above `max_message_bytes`.
            NotRunningError: The broadcaster was not started.
        """
        place, publication = self._append(channel, kind, data, key)
        if place.crowded(messages=self._pace_messages, size_bytes=self._slice_bytes):
            assert self._sweeper is not None
            await self._sweeper.swept(place)
            if place.bursting():
                await self._audited()
        return publication

    def _append(self, channel: str, kind: Kind, data: bytes, key: str | None) -> tuple[Channel, Publication]:
        sweeper, hub = self._sweeper, self._hub
        if sweeper is None:
            raise NotRunningError
        size = len(data)
        if size > self.max_message_bytes:
            raise MessageTooBigError(size_bytes=size, limit_bytes=self.max_message_bytes)
        # An event loop's own clock may stand still during a turn, and ages are counted from here.
        now = time.monotonic()
        place = hub.channel(channel, time=now)
        if place.crowded(messages=hub.queue_messages, size_bytes=hub.queue_bytes - size + 1):
            sweeper.flush(place)
        publication = hub.publish(place, data, kind=kind, time=now, key=key)
        if place.queues:
            sweeper.schedule(place)
        return place, publication

    def publish_threadsafe(
        self, channel: str, payload: Payload, *, key: str | None = None
    ) -> concurrent.futures.Future[Publication]:
        """Publishes from another thread. Wait for the future now and then: it is the only thing that slows you down.

        Raises:
            NotRunningError: The broadcaster was not started. All else is raised by the future's `result()`.
        """
        loop = self._running()
        return asyncio.run_coroutine_threadsafe(self.publish(channel, payload, key=key), loop)


def serialise(payload: Payload) -> tuple[Kind, bytes]:
    """Returns what a payload is, and its bytes.

    Raises:
        PayloadError: JSON has no word for the payload.
    """
    if isinstance(payload, str):
        return Kind.TEXT, payload.encode()
    if isinstance(payload, bytes):
        return Kind.BINARY, payload
    if isinstance(payload, (bytearray, memoryview)):
        return Kind.BINARY, bytes(payload)
    try:
        return Kind.JSON, orjson.dumps(payload)
    except orjson.JSONEncodeError as error:
        raise PayloadError(payload, str(error)) from error

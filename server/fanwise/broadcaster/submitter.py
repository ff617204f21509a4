"""Publishing behind a backplane: what is allowed is handed to the engine, which gives it its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..backplane.port import Backplane, Once, Outgoing
from ..backplane.together import Together
from ..core.filters import Tags, check_tags
from ..core.hub import Hub
from ..core.publication import Kind, Position, Publication, check_channel_name, make_publication
from .publisher import Publisher


class Submitter:
    """Owns the invariant that the engine is handed nothing that a server without a backplane would refuse.

    Args:
        backplane: The node's connection to the engine.
        hub: Says which channels there may be.
        publisher: Says how large payloads may be, and makes spans.
    """

    def __init__(self, backplane: Backplane, hub: Hub, publisher: Publisher) -> None:
        self._backplane = backplane
        self._hub = hub
        self._publisher = publisher
        self._submit: Callable[[Outgoing], asyncio.Future[Position]] = backplane.publish
        if publisher.spans is not None:
            self._submit = publisher.spans.through(backplane.publish, lambda name: hub.namespaces.of(name).pattern)

    def submit(
        self,
        channel: str,
        kind: Kind,
        data: bytes,
        key: str | None = None,
        once: Once | None = None,
        tags: Tags | None = None,
        exclude: str | None = None,
    ) -> asyncio.Future[Position]:
        """Hands a publication to the engine; the future has its position when the engine has the publication.

        The future raises:
            BackplaneDownError: Nothing was published.
            IdempotencyError: Another publication was requested as `once`.
            UnconfirmedError: Perhaps it was published.

        Raises:
            ChannelNameError: The channel's name is not allowed.
            NoChannelError: Options let no channel of that name be opened.
            MessageTooBigError: The payload is above the limit.
            NotRunningError: The broadcaster was not started.
            TagError: The tags are not allowed, or too many.
        """
        return self._submit(self._checked(channel, kind, data, key, tags, once=once, exclude=exclude))

    def submit_all(self, channel: str, kind: Kind, data: Sequence[bytes]) -> asyncio.Future[Position] | None:
        """Hands several publications to the engine, in their order; None if they have to be handed in one by one.

        The future has the last one's position when the engine has all of them, or the first error. Takes and raises
        what `submit` does; there is one at least.
        """
        if self._publisher.spans is not None:  # each has its own
            return None
        self._check(channel, max(data, key=len))
        together, publish = Together(asyncio.get_running_loop(), len(data)), self._backplane.publish
        for one in data:
            publish(Outgoing(channel, one, kind), together)
        return together.future

    async def publish(
        self,
        channel: str,
        kind: Kind,
        data: bytes,
        key: str | None = None,
        tags: Tags | None = None,
        exclude: str | None = None,
    ) -> Publication:
        """Publishes through the engine: returns when the engine has it. Raises what `submit` and its future raise."""
        outgoing = self._checked(channel, kind, data, key, tags, exclude=exclude)
        position = await self._submit(outgoing)
        return make_publication(outgoing.tags)(channel, *position, data, kind, time.monotonic(), key)

    def _checked(
        self, channel: str, kind: Kind, data: bytes, key: str | None, tags: Tags | None, **about: Any
    ) -> Outgoing:
        self._check(channel, data)
        return Outgoing(channel, data, kind, key, tags=check_tags(tags), **about)

    def _check(self, channel: str, data: bytes) -> None:
        self._publisher.check_size(data)
        self._hub.check_allowed(check_channel_name(channel))

"""All shards: a channel belongs to one of them, by a checksum of its name."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from zlib import crc32

from ...core.publication import Position
from ..counts import Counts
from ..options import Options
from ..port import Done, Listener, Outgoing, Standing
from ..together import Together
from .address import Address
from .fleet import RedisFleet
from .shard import Shard

_NAME_BYTES = 6


class RedisBackplane:
    """A connection of one node to one or more engines (`port.Backplane`).

    Args:
        addresses: One for each shard, in the order that all nodes have.
        options: Bounds and promises, as all nodes have them.
    """

    def __init__(self, addresses: Sequence[Address], options: Options) -> None:
        self.counts = Counts()
        self._addresses = addresses
        self._options = options
        self._shards: list[Shard] = []

    async def start(self, listener: Listener) -> None:
        """Connects to all engines; goes on trying where one cannot be reached. Raises SettingsError if one refuses."""
        sender, count = secrets.token_hex(_NAME_BYTES), len(self._addresses)
        for index, address in enumerate(self._addresses):
            concerns: Callable[[str], bool] = partial(self._is_on, index)
            shard = Shard(
                address,
                self._options,
                index=index,
                count=count,
                sender=sender,
                arrived=listener.arrived,
                interrupted=partial(listener.interrupted, concerns),
                in_use=partial(_in_use, listener, concerns),
                counts=self.counts,
            )
            self._shards.append(shard)
        try:
            await asyncio.gather(*(shard.start() for shard in self._shards))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Disconnects; what waits fails."""
        await asyncio.gather(*(shard.stop() for shard in self._shards))
        self._shards = []

    def publish(self, outgoing: Outgoing, together: Together | None = None) -> asyncio.Future[Position]:
        """Publishes on the channel's shard."""
        return self._shard(outgoing.channel).publish(outgoing, together)

    def open(self, channel: str, since: Position | None, done: Done) -> None:
        """Asks the channel's shard."""
        self._shard(channel).open(channel, since, done)

    def go_on(self) -> None:
        """Reads on from all engines."""
        for shard in self._shards:
            shard.go_on()

    def standing(self) -> Standing:
        """Returns how the worst of the shards is."""
        return min((shard.standing() for shard in self._shards), key=lambda one: (one.up, -one.silent_seconds))

    def fleet(self) -> RedisFleet:
        """Returns a connection to the other workers, through the first engine."""
        return RedisFleet(self._addresses[0], self._options)

    def _shard(self, channel: str) -> Shard:
        return self._shards[crc32(channel.encode()) % len(self._shards)]

    def _is_on(self, index: int, channel: str) -> bool:
        return crc32(channel.encode()) % len(self._addresses) == index


def _in_use(listener: Listener, concerns: Callable[[str], bool], *, published: bool) -> Iterator[str]:
    return filter(concerns, listener.in_use(published=published))

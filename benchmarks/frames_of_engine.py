"""Frames as `publish.lua` makes them, and a worker without an engine that receives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from fanwise.backplane.counts import Counts
from fanwise.backplane.redis.link import Link
from fanwise.backplane.redis.tail import Tail
from fanwise.broadcaster.sharing import Sharing

from .harness import Stage

PAYLOAD: Final = b"x" * 128
PUBLICATIONS: Final = 64  # in a frame
_EPOCH: Final = "7b54f2d7a4f46"
_GENERATION: Final = 1_763_812_800_000
_FIRST: Final = 1_000_000  # offset: so that all have as many digits


class Receiver:
    """Hears frame after frame of publications to some channels in turn.

    Args:
        place: Where the worker is.
        channels: Those of each frame.
        opened: Whether the channels are open here.
    """

    def __init__(self, place: Stage, channels: Sequence[str], *, opened: bool) -> None:
        self._place = place
        self._channels = channels
        self._offset = _FIRST
        self._number = 1
        node = place.broadcaster
        for name in channels if opened else ():
            node._hub.adopt(name, epoch=_EPOCH, start=_FIRST - 1, time=0.0)

    async def listen(self) -> None:
        """Begins to hear: the frame that it has is the first."""
        node = self._place.broadcaster
        sharing = Sharing(cast("Any", _GoesOn()), node._hub, node._publisher, cast("Any", None))
        self._tail = Tail("live", arrived=sharing.arrived, interrupted=_nothing, settled=_nothing, counts=Counts())
        self._tail.verified(Link(lambda _: None, lambda _: None), _GENERATION, 1)
        self.counts = sharing.counts

    def next_frame(self) -> bytes:
        """Returns the next frame."""
        self._number += 1
        texts = []
        for place in range(PUBLICATIONS):
            turn, channel = divmod(place, len(self._channels))
            head = f"{_EPOCH} {self._offset + turn} 1763812800000 {self._channels[channel]} T\n"
            texts.append(head.encode() + PAYLOAD)
        self._offset += PUBLICATIONS // len(self._channels)
        sizes = b" ".join(b"%d" % len(text) for text in texts)
        return b"%d %d 0123456789ab %b\n%b" % (_GENERATION, self._number, sizes, b"".join(texts))

    def hear(self, frame: bytes) -> None:
        """Hears a frame, and lets the loop do what follows."""
        self._tail.pushed(frame)
        self._place.loop.turn()


class _GoesOn:
    """A backplane that has nothing to read on."""

    def __init__(self) -> None:
        self.counts = Counts()

    def go_on(self) -> None: ...

    def publish(self, outgoing: object) -> None: ...


def _nothing() -> None:
    """Hears what does not concern a measurement."""

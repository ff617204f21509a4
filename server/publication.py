"""The leaves: a publication, its position, and the rule for channel names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from .errors import ChannelNameError

Encoding: TypeAlias = "Callable[[Publication], bytes]"
"""How a publication becomes bytes for one kind of client. The function itself is the key under which they are kept."""

_CHANNEL_NAME = re.compile(r"[A-Za-z0-9._:/-]{1,255}")


def check_channel_name(name: str) -> str:
    """Returns `name` when it is 1-255 characters of `A-Z a-z 0-9 . _ : / -`; raises ChannelNameError otherwise."""
    if _CHANNEL_NAME.fullmatch(name) is None:
        raise ChannelNameError(name)
    return name


class Position(NamedTuple):
    """A place in a channel's log: `offset` counts within the log that `epoch` names."""

    epoch: str
    offset: int


class Publication:
    """One message of a channel: immutable, and the same object for every client that gets it.

    Attributes:
        channel: The channel's name.
        epoch: Which log `offset` belongs to.
        offset: 1 for the first publication of a log, then one more each.
        payload: The message, UTF-8 when it is text.
        binary: Whether clients get it as a binary message.
        key: What it is the newest state of, for queues that keep only the newest of each key; None for none.
        time: When it was appended, in seconds of the event loop's clock.
    """

    __slots__ = ("_encoded", "binary", "channel", "epoch", "key", "offset", "payload", "time")

    def __init__(
        self, channel: str, epoch: str, offset: int, payload: bytes, binary: bool, time: float, key: str | None = None
    ) -> None:
        self.channel: Final = channel
        self.epoch: Final = epoch
        self.offset: Final = offset
        self.payload: Final = payload
        self.binary: Final = binary
        self.time: Final = time
        self.key: Final = key
        self._encoded: Final[dict[Encoding, bytes]] = {}

    @property
    def position(self) -> Position:
        """Where a client that has this publication stands."""
        return Position(self.epoch, self.offset)

    def encoded(self, encoding: Encoding) -> bytes:
        """The publication's bytes in `encoding`, made at the first call and kept: once, however many clients."""
        encoded = self._encoded.get(encoding)
        if encoded is None:
            encoded = self._encoded[encoding] = encoding(self)
        return encoded

    def __repr__(self) -> str:
        kind = "binary" if self.binary else "text"
        return f"<Publication {self.channel}@{self.epoch}:{self.offset} {kind}, {len(self.payload)} bytes>"

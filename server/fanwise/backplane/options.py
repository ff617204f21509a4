"""What all engines are told of the servers that they serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..core.namespaces import Namespace, Namespaces


class History(NamedTuple):
    """How much of a channel an engine retains: publications, payload bytes, and for how long."""

    messages: int
    bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Options:
    """Bounds and promises, in one place for all engines.

    Attributes:
        prefix: Of all keys and channels in the engine: at most 64 characters of A-Z a-z 0-9 . _ : -.
        replicas: How many replicas must have a publication before it is acknowledged.
        durable: Whether what the engine has acknowledged survives its restart, so that epochs stay.
        live_bytes: How many bytes of publications a node may be behind before it has to ask for histories.
        publish_seconds: How long a publication, or opening a channel, may wait.
        channel_seconds: How long the engine remembers where a channel stands that no node uses; at least twice
            `history_seconds`.
        unpublished_seconds: How long that is while nothing was published to the channel.
        check_seconds: How often a node compares what it has with what the engine has; and how long an engine may
            leave that unanswered before it is connected to anew.
        history_of: Returns the history of a channel, where channels have options; None: the three below are of all.
        most_messages: The most publications of a channel, of any options.
        history_messages: How many publications of a channel the engine retains, at least.
        history_bytes: How many payload bytes of a channel the engine retains, at most.
        history_seconds: How long the engine retains the publications of a channel that nobody publishes to.
    """

    prefix: str = "fanwise"
    replicas: int = 0
    durable: bool = False
    live_bytes: int = 67_108_864
    publish_seconds: float = 5.0
    channel_seconds: float = 3600.0
    unpublished_seconds: float = 120.0
    check_seconds: float = 1.0
    history_of: Callable[[str], History] | None = None
    most_messages: int = 0
    history_messages: int = 1000
    history_bytes: int = 4_194_304
    history_seconds: float = 300.0

    @property
    def all_channels(self) -> History:
        """The history of the channels without options."""
        return History(self.history_messages, self.history_bytes, self.history_seconds)

    def history(self, channel: str) -> History:
        """Returns how much of a channel the engine retains."""
        return self.all_channels if self.history_of is None else self.history_of(channel)


def of_channels(namespaces: Namespaces) -> dict[str, Any]:
    """Returns the fields of `Options` that say what the options of channels say; empty without any."""
    if not namespaces:
        return {}
    longest = max(one.history_seconds for one in namespaces)
    return {
        "history_of": lambda channel: _history(namespaces.of(channel)),
        "most_messages": max(one.history_messages for one in namespaces),
        "channel_seconds": max(Options.channel_seconds, 2 * longest),
    }


def _history(space: Namespace) -> History:
    return History(space.history_messages, space.history_bytes, space.history_seconds)

"""The leaves: a publication, its position, and the rule for channel names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, TypedDict

from ..errors import BeginningError, ChannelNameError, PositionError
from .filters import LOOK_BACK, Filter, Tags, Wanted, as_filter, tags_bytes

Encoding: TypeAlias = "Callable[[Publication], bytes]"
"""Makes a publication's bytes for one kind of client. The function itself is the key under which they are kept."""

_CHANNEL_NAME = re.compile(r"[A-Za-z0-9._:/-]{1,255}")


def check_channel_name(name: str) -> str:
    """Returns `name` when it is 1-255 characters of `A-Z a-z 0-9 . _ : / -`; raises ChannelNameError otherwise."""
    if _CHANNEL_NAME.fullmatch(name) is None:
        raise ChannelNameError(name)
    return name


class Kind(Enum):
    """The type of a payload."""

    TEXT = "text"  # UTF-8
    JSON = "json"  # one JSON value (RFC 8259), UTF-8; a client that knows no JSON gets it as text
    BINARY = "binary"


_CHARACTER_BYTES: Final = 4  # at most, in CPython
_POSITION = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,18})", re.ASCII)


class Position(NamedTuple):
    """A place in a channel's log: `offset` counts within the log that `epoch` names."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that `str()` made "epoch:offset" of.

        Raises:
            PositionError: It looks different.
        """
        match = _POSITION.fullmatch(text)
        if match is None:
            raise PositionError(text)
        return cls(match[1], int(match[2]))


class Last(NamedTuple):
    """A place in a channel's log: before its newest publications.

    Attributes:
        number: How many of them.
        among: The publications among which a filter looks for them; `number` without a filter.
    """

    number: int
    among: int


Beginning: TypeAlias = "Position | Last"
"""Where a stream begins that does not begin at the head of its log."""
Since: TypeAlias = "Beginning | None"
MAX_LAST: Final = 1_000_000_000


def beginning(
    since: Beginning | None,
    last: int | None,
    filter: Wanted = None,
) -> tuple[Beginning | None, Filter | None]:
    """Returns where a stream begins, and its filter.

    Args:
        since: The stream begins after it; None: at the head.
        last: How many publications before the head the stream begins; None: `since` says.
        filter: What the stream's client wants; None: everything.

    Raises:
        BeginningError: Both are given, or `last` is not a number from 0 to 1,000,000,000.
        TagError: The filter is not allowed.
    """
    if last is None and filter is None:  # as most
        return since, None
    wanted = as_filter(filter)
    if last is None:
        return since, wanted
    if since is not None:
        raise BeginningError("a stream begins after `since`, or with the `last` publications: give one of the two")
    if type(last) is not int or not 0 <= last <= MAX_LAST:
        raise BeginningError(f"last is {last!r:.80}; it takes a number of publications, from 0 to {MAX_LAST}")
    return Last(last, last if wanted is None else max(last, LOOK_BACK)) if last else None, wanted


class Begins(TypedDict):
    """Where a stream begins, None for the head, and its filter, None for none."""

    since: Since
    filter: Filter | None


def begins(since: Since, last: int | None, filter: Wanted) -> Begins:
    """Returns what `beginning` returns, as arguments by name."""
    begin, wanted = beginning(since, last, filter)
    return {"since": begin, "filter": wanted}


class Publication:
    """One message of a channel: immutable, and the same object for every client that gets it.

    Attributes:
        channel: The channel's name.
        epoch: The log that `offset` belongs to.
        offset: 1 for the first publication of a log, then one more each.
        payload: The message.
        kind: The payload's type.
        key: The name of the state that it is the newest of, for queues that keep only the newest of each key; or None.
        tags: What it is about, for the filters of clients: {tag: value}, not to be changed; None for nothing.
        time: Seconds of the monotonic clock at which it was appended.
        extra_bytes: Bytes of its encodings, its key and its tags.
        ledger: The log's running total of encoded bytes in its only place; shared by all its publications.
    """

    __slots__ = (
        "_bytes",
        "_encoding",
        "_ledger",
        "_others",
        "channel",
        "epoch",
        "extra_bytes",
        "key",
        "kind",
        "offset",
        "payload",
        "time",
    )

    tags: Tags | None = None  # of the class: publications without tags have no place for them

    def __init__(
        self,
        channel: str,
        epoch: str,
        offset: int,
        payload: bytes,
        kind: Kind,
        time: float,
        key: str | None = None,
        ledger: list[int] | None = None,
    ) -> None:
        self.channel: Final = channel
        self.epoch: Final = epoch
        self.offset: Final = offset
        self.payload: Final = payload
        self.kind: Final = kind
        self.time: Final = time
        self.key: Final = key
        self._encoding: Encoding | None = None  # the one that was asked for first: most publications have no other
        self._bytes = b""  # in that one
        self._others: dict[Encoding, bytes] | None = None
        self._ledger: Final = [0] if ledger is None else ledger
        self.extra_bytes = 0 if key is None else len(key) * _CHARACTER_BYTES

    @classmethod
    def several(
        cls,
        channel: str,
        epoch: str,
        after: int,
        payloads: Iterable[bytes],
        kind: Kind,
        time: float,
        ledger: list[int],
    ) -> list[Publication]:
        """Publications without a key, at the offsets behind `after`: in half the time of as many calls of the class."""
        made: list[Publication] = []
        new = object.__new__
        for offset, payload in enumerate(payloads, after + 1):
            one: Any = new(cls)  # its attributes are final
            one.channel = channel
            one.epoch = epoch
            one.offset = offset
            one.payload = payload
            one.kind = kind
            one.time = time
            one.key = one._encoding = one._others = None  # noqa: SLF001 - of this class
            one._bytes = b""  # noqa: SLF001
            one._ledger = ledger  # noqa: SLF001
            one.extra_bytes = 0
            made.append(one)
        return made

    @property
    def position(self) -> Position:
        """The position of a client that has this publication, and none after it."""
        return Position(self.epoch, self.offset)

    def encoded(self, encoding: Encoding) -> bytes:
        """The publication's bytes in `encoding`, made at the first call and kept: once, however many clients."""
        if self._encoding is encoding:
            return self._bytes
        if self._others is not None and encoding in self._others:
            return self._others[encoding]
        encoded = encoding(self)
        self.extra_bytes += len(encoded)
        self._ledger[0] += len(encoded)
        if self._encoding is None:
            self._encoding, self._bytes = encoding, encoded
        elif self._others is None:
            self._others = {encoding: encoded}
        else:
            self._others[encoding] = encoded
        return encoded

    def keeps(self, encoding: Encoding) -> bool:
        """Whether its bytes in `encoding` were made and kept before any others."""
        return self._encoding is encoding

    def share(self, encoding: Encoding) -> bytes:
        """The publication's bytes in `encoding`, for an encoding that returns the same object: counted once."""
        encoded = self.encoded(encoding)
        self.extra_bytes -= len(encoded)
        self._ledger[0] -= len(encoded)
        return encoded

    def __repr__(self) -> str:
        return f"<Publication {self.channel}@{self.epoch}:{self.offset} {self.kind.value}, {len(self.payload)} bytes>"


class TaggedPublication(Publication):
    """A publication with tags.

    Args:
        tags: Checked, and not changed by anybody.
        about: What a `Publication` takes.
    """

    __slots__ = ("tags",)

    def __init__(self, tags: Tags, *about: Any) -> None:
        super().__init__(*about)
        self.tags = tags
        self.extra_bytes += tags_bytes(tags)


def make_publication(tags: Tags | None) -> Callable[..., Publication]:
    """Returns what makes a publication with tags that were checked, or without."""
    return Publication if tags is None else partial(TaggedPublication, tags)

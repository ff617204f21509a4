"""What `publish.lua` is called with to take a frame, and what it answers.

A run has the publications of a frame that follow each other and go to one channel: the engine reads and writes where a
channel stands once for each run, and the run's publications have offsets that follow each other. A publication with a
request is a run of its own, as it may be one that the engine has already.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from ...core.publication import Position
from ...errors import IdempotencyError
from ..frames import pack
from ..options import Options
from ..waiting import Frame, Waiting

_new = cast("Callable[[type[Position], tuple[Any, ...]], Position]", tuple.__new__)  # calling the class is dearer
_EPOCH_BYTES: Final = 6
_LIVE_PARTS: Final = 16  # in which the live stream is trimmed


class Taking:
    """Makes the keys and the arguments of the script.

    Args:
        prefix: Of the shard's keys.
        options: Bounds of histories.
        sender: The node's name in the engine, without spaces.
        channel_ms: How long a channel stays that nobody publishes to.
    """

    def __init__(self, prefix: str, options: Options, *, sender: str, channel_ms: int) -> None:
        self._prefix = prefix
        self._options = options
        self._keys = [f"{prefix}{name}" for name in ("shard", "live", f"w:{sender}")]
        history = (options.history_messages, options.history_bytes, int(options.history_seconds * 1000))
        self._bounds = (sender, *history, channel_ms, max(1, options.live_bytes // _LIVE_PARTS))

    def call(self, frame: Frame, generation: int) -> tuple[list[str], list[str | bytes | int]]:
        """Returns keys and arguments. O(the frame)."""
        prefix, keys = self._prefix, self._keys.copy()
        requests, digests, histories = [], [], []
        sent: list[str | bytes | int] = []
        count = 0
        for count, run in enumerate(_runs(frame), 1):
            channel, once = run[0].outgoing.channel, run[0].outgoing.once
            keys += [f"{prefix}m:{channel}", f"{prefix}h:{channel}"]
            sent += [channel, len(run)]
            for outgoing, *_ in run:
                sent += pack(outgoing)
            if once is not None:
                requests.append(f"{prefix}i:{once.key}")
                digests.append(f"{count} {once.digest}")
            if (history := self._history(channel)) is not None:
                histories.append(f"{count} {history}")
        head = (frame.number, generation, secrets.token_hex(_EPOCH_BYTES), *self._bounds)
        return [*keys, *requests], [*head, " ".join(digests), " ".join(histories), count, *sent]

    def _history(self, channel: str) -> str | None:
        """Returns "messages bytes ms" of a channel of which not as much is retained as of others."""
        options = self._options
        if options.history_of is None:
            return None
        history = options.history_of(channel)
        if history == options.all_channels:
            return None
        return f"{history.messages} {history.bytes} {int(history.seconds * 1000)}"


def positions(frame: Frame, answer: bytes) -> list[Position | IdempotencyError]:
    """Returns what the script has answered for each publication of a frame."""
    found: list[Position | IdempotencyError] = []
    _, *lines = answer.decode().split("\n")
    for run, line in zip(_runs(frame), lines, strict=True):
        epoch, _, first = line.partition(" ")
        if first:
            begin = int(first)
            found += [_new(Position, (epoch, offset)) for offset in range(begin, begin + len(run))]
        else:
            found.append(IdempotencyError())
    return found


def _runs(frame: Frame) -> Iterator[list[Waiting]]:
    """Yields the runs of a frame: the same ones each time, as a frame that is sent again is answered as before."""
    run: list[Waiting] = []
    for one in frame.waiting:
        before = run[0].outgoing if run else one.outgoing
        if run and (one.outgoing.channel != before.channel or one.outgoing.once is not None or before.once is not None):
            yield run
            run = []
        run.append(one)
    yield run

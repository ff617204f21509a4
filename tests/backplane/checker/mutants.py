"""The product with a mistake in it: what the checker must catch, or it checks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final
from unittest.mock import patch

from fanwise.backplane import waiting
from fanwise.backplane.frames import FrameHead, read_frame, read_head
from fanwise.backplane.nats import sending
from fanwise.backplane.nats.backplane import NatsBackplane
from fanwise.backplane.port import Outgoing
from fanwise.backplane.redis import dial, tail
from fanwise.broadcaster import sharing
from fanwise.core.publication import Position

from .faults import FAULTS
from .scene import Fault


@dataclass(frozen=True)
class Mutant:
    """A mistake, and the fault under which it shows."""

    fault: Fault
    plant: Callable[[ExitStack], None]


def _no_barrier(stack: ExitStack) -> None:
    """A client that is ahead of its server is not waited for."""
    is_ready = sharing.Sharing._is_ready

    def ready(self: sharing.Sharing, name: str, since: Position | None, **_: bool) -> bool:
        return is_ready(self, name, since, current=True)

    stack.enter_context(patch.object(sharing.Sharing, "_is_ready", ready))


def _script(name: str, text: str, other: str) -> Callable[[ExitStack], None]:
    def plant(stack: ExitStack) -> None:
        script = dial.SCRIPTS[name]
        assert text in script, text
        stack.enter_context(patch.object(dial, "SCRIPTS", {**dial.SCRIPTS, name: script.replace(text, other)}))

    return plant


def _early_ack(stack: ExitStack) -> None:
    """A publication is acknowledged when it has been sent."""
    enter = waiting.WaitingRoom.enter

    def early(self: waiting.WaitingRoom, outgoing: Outgoing, *_: object) -> asyncio.Future[Position]:
        future = enter(self, outgoing)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        sent: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        sent.set_result(Position("", 0))
        return sent

    stack.enter_context(patch.object(waiting.WaitingRoom, "enter", early))


def _holes_unseen(stack: ExitStack) -> None:
    """Frames are applied whatever their number is."""

    def pushed(self: tail.Tail, frame: bytes) -> None:
        head: FrameHead = read_head(frame)
        if self._link is not None and not self._fetching and head.generation == self.generation:
            self._apply(head.number, read_frame(frame, head))

    stack.enter_context(patch.object(tail.Tail, "pushed", pushed))


def _nats_not_compared(stack: ExitStack) -> None:
    """The stream takes messages whatever was published to the channel meanwhile."""
    stack.enter_context(patch.object(sending, "EXPECTED", b"Ignored: %d\r\n"))


def _nats_loss_unseen(stack: ExitStack) -> None:
    """What nodes have heard is not looked for in the stream."""

    async def no_comparison(*_: object) -> None:
        pass

    stack.enter_context(patch.object(NatsBackplane, "_compare", no_comparison))


def _nothing(_: ExitStack) -> None:
    """The mistake is in the fault's own settings."""


MUTANTS: Final[Mapping[str, Mutant]] = MappingProxyType(
    {
        "no-barrier": Mutant(FAULTS["deaf"], _no_barrier),
        "frames-unnumbered": Mutant(FAULTS["answers-lost"], _script("publish", "if number == last", "if false")),
        "lineage-ignored": Mutant(FAULTS["failover-all-new"], _script("verify", "lineage == ARGV[1]", "true")),
        "ack-when-sent": Mutant(FAULTS["out-of-memory"], _early_ack),
        "no-wait-in-a-split": Mutant(replace(FAULTS["split"], options={}), _nothing),
        "late-frames-taken": Mutant(FAULTS["held"], _script("publish", "if number < last", "if false")),
        "nats-not-compared": Mutant(FAULTS["nats"], _nats_not_compared),
        "nats-loss-unseen": Mutant(FAULTS["nats-store-older"], _nats_loss_unseen),
        "holes-unseen": Mutant(FAULTS["deaf-for-a-moment"], _holes_unseen),
    }
)

"""A simulated client over all of its connections."""

from __future__ import annotations

from random import Random

from ...load.behaviour import Behaviour
from .connection import Connection
from .dialects import Position
from .plan import Place, Plan
from .receiver import Receiver


class Client:
    """One client: its place in the plan, its connection of the moment, and what it knows from earlier ones.

    Args:
        plan: Its seed and the client's number decide what the client draws by lot.

    Attributes:
        bytes_per_second: What a slow client reads.
        connection: None while it has none.
        receiver: What it has received on its connection; None without.
        came: Whether it has had a connection before.
        ended_ns: When its peer ended a connection that is not read at the moment; 0 before.
        expected: At the end of a connection: the sequence that it waited for; 0 before its first message.
        position: Where it resumes; None where it does not know.
    """

    __slots__ = (
        "bytes_per_second",
        "came",
        "chance",
        "channel",
        "connection",
        "ended_ns",
        "expected",
        "kind",
        "number",
        "position",
        "receiver",
        "resumes",
    )

    def __init__(self, place: Place, plan: Plan) -> None:
        self.number, self.channel, self.kind, self.resumes = place
        self.chance = Random(f"{plan.seed} {place.number} {place.kind}")  # noqa: S311 - no secret
        self.bytes_per_second = int(plan.slow_bytes_per_second.logarithmic(self.chance))
        self.connection: Connection | None = None
        self.receiver: Receiver | None = None
        self.came = False
        self.ended_ns = 0
        self.expected = 0
        self.position: Position | None = None

    @property
    def opened(self) -> tuple[Connection, Receiver]:
        """Its connection, which must stand, and what it has received on it."""
        if self.connection is None or self.receiver is None:
            raise AssertionError(f"client {self.number} has no connection")
        return self.connection, self.receiver

    @property
    def is_read_late(self) -> bool:
        """Whether bytes may wait for it in the kernel because of its kind."""
        return self.kind in (Behaviour.SLOW, Behaviour.STALLED, Behaviour.PAUSING)

"""A simulated client over all of its connections."""

from __future__ import annotations

from random import Random

from ...load.behaviour import READ_LATE
from .connection import Connection
from .dialects import Position
from .plan import Place, Plan
from .receiver import Receiver
from .supply import chance_of, supply


class Client:
    """One client: its place in the plan, its connection of the moment, and what it knows from earlier ones.

    Args:
        plan: Its seed and the client's number decide what the client draws by lot.

    Attributes:
        supply: How it reads.
        connection: None while it has none.
        receiver: What it has received on its connection; None without.
        recorded: How it read when it was recorded; None where the plan says how it reads.
        came: Whether it has had a connection before.
        gone: Whether it has left for good.
        ended_ns: When its peer ended a connection that is not read at the moment; 0 before.
        expected: At the end of a connection: the sequence that it waited for; 0 before its first message.
        position: Where it resumes; None where it does not know.
    """

    __slots__ = (
        "came",
        "chance",
        "channel",
        "connection",
        "ended_ns",
        "expected",
        "gone",
        "kind",
        "number",
        "position",
        "receiver",
        "recorded",
        "resumes",
        "supply",
    )

    def __init__(self, place: Place, plan: Plan) -> None:
        self.number, self.channel, self.kind, self.resumes, self.recorded = place
        self.chance = Random(f"{plan.seed} {place.number} {place.kind}")  # noqa: S311 - no secret
        self.supply = supply(place, plan, chance_of(place, plan))
        self.connection: Connection | None = None
        self.receiver: Receiver | None = None
        self.came = False
        self.gone = False
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
    def begins_at(self) -> float:
        """When it comes, in seconds of the measurement; 0: before."""
        return 0.0 if self.recorded is None else self.recorded.begins

    @property
    def is_read_late(self) -> bool:
        """Whether bytes may wait for it in the kernel because of its kind."""
        return self.kind in READ_LATE

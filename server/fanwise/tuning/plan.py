"""A plan: traffic and clients as somebody expects them, made into a scene with the help of a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..core.dialect import JSON, PLAIN
from ..core.forgiven import hidden_bytes
from ..tools.bench.load.plan import RESUMABLE
from ..tools.bench.load.plan import Plan as Load
from ..tools.bench.load.recording import Range
from ..tools.bench.load.supply import Supply as Habit
from ..tools.bench.load.supply import chance_of, supply
from .scene import DIALECTS, FAST_BYTES, Reader, Scene, Sent, Supply, refill_bytes
from .visits import wire_sizes

CHANNEL: Final = "lobby"
_START: Final = 1.0  # readers are there before the first publication


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The figures of a plan.

    Attributes:
        rate: Publications a second, between bursts.
        size: Payload bytes of each.
        clients: How many clients listen.
        pausing: How many of them stop reading now and then.
        pause_seconds: A pause takes, at least and at most.
        between_seconds: From the end of a pause to the next one, on average: half of it to half more.
        slow: How many clients have little bandwidth.
        bandwidth: Bytes a second of such a client, at least and at most; their logarithms are spread evenly.
        burst: Publications of a burst; 0 without bursts.
        burst_seconds: From one burst to the next.
        keys: Publications take turns in so many keys; 0 without keys.
        away_seconds: After a close, until a client comes back; None: it stays away.
        seconds: How long the scene lasts.
        room_bytes: What the kernels of both sides take of a client that does not read; None: what is usual.
        seed: Of pauses, bandwidths and times.
    """

    rate: float
    size: int
    clients: int
    pausing: int = 0
    pause_seconds: tuple[float, float] = (1.0, 10.0)
    between_seconds: float = 20.0
    slow: int = 0
    bandwidth: tuple[float, float] = (100e3, 1e6)
    burst: int = 0
    burst_seconds: float = 2.0
    keys: int = 0
    away_seconds: tuple[float, float] | None = (0.5, 1.5)
    seconds: float = 120.0
    room_bytes: float | None = None
    seed: int = 1

    @property
    def awake_seconds(self) -> tuple[float, float]:
        """From the end of a pause to the next one, at least and at most."""
        return self.between_seconds / 2, self.between_seconds * 1.5

    @property
    def dialect(self) -> str:
        """The clients' dialect: one that can resume and has keys, where that is needed."""
        return JSON.name if self.keys or self.away_seconds is not None else PLAIN.name


def make_scene(plan: Plan) -> Scene:
    """Returns the scene of a plan: one channel, its publications, and a reader for each pausing or slow client.

    The readers are those of `fanwise bench` with an equal seed: the load of a proof pauses when a replay's readers do.
    """
    wire_bytes = wire_sizes(DIALECTS[plan.dialect])(CHANNEL, plan.size, bool(plan.keys))
    room_bytes = hidden_bytes(wire_bytes) if plan.room_bytes is None else plan.room_bytes
    ends = _START + plan.seconds
    readers = [
        Reader(
            name=f"{place.kind}-{place.number}",
            channels=(CHANNEL,),
            supply=_supply(supply(place, load, chance_of(place, load)), ends),
            room_bytes=room_bytes,
            refill_bytes=refill_bytes(room_bytes, wire_bytes),
            away_seconds=plan.away_seconds,
        )
        for load in [_load(plan)]
        for place in load.places()
        if place.kind in RESUMABLE
    ]
    return Scene(
        publications=list(_publications(plan)),
        readers=readers,
        fast_clients=plan.clients - len(readers),
        ends=ends,
        dialect=plan.dialect,
    )


def planned_pauses(scene: Scene) -> list[float]:
    """Returns the seconds of all pauses in a scene."""
    return [seconds for reader in scene.readers for seconds in reader.supply.pauses(until=scene.ends)]


def _load(plan: Plan) -> Load:
    """Returns the plan as far as `fanwise bench` draws its clients' habits from it."""
    return Load(
        url="",
        clients=plan.clients,
        slow=plan.slow,
        pausing=plan.pausing,
        slow_bytes_per_second=Range(*plan.bandwidth),
        pause_seconds=Range(*plan.pause_seconds),
        awake_seconds=Range(*plan.awake_seconds),
        seed=plan.seed,
    )


def _supply(habit: Habit, ends: float) -> Supply:
    """Returns a habit up to `ends`. Its time begins with the first publication."""
    pieces, time = [(0.0, FAST_BYTES)], 0.0
    while time < ends - _START:
        later, pace = habit.at(time)
        if _START + time > pieces[-1][0]:
            pieces.append((_START + time, min(pace, FAST_BYTES)))
        time = later
    return Supply(pieces)


def _publications(plan: Plan) -> list[Sent]:
    """Returns the publications: at fixed times, and bursts beside them."""
    steady = [_START + number / plan.rate for number in range(int(plan.rate * plan.seconds))] if plan.rate else []
    bursts = int(plan.seconds / plan.burst_seconds) if plan.burst else 0
    burst = [_START + number * plan.burst_seconds for number in range(bursts) for _ in range(plan.burst)]
    return [
        Sent(time, CHANNEL, plan.size, f"k{number % plan.keys}" if plan.keys else None)
        for number, time in enumerate(sorted([*steady, *burst]))
    ]

"""A plan: traffic and clients as somebody expects them, made into a scene with the help of a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from ..core.forgiven import HIDDEN_BYTES
from .scene import FAST_BYTES, Reader, Scene, Sent, Supply

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
        between_seconds: From the end of a pause to the next one, on average.
        slow: How many clients have little bandwidth.
        bandwidth: Bytes a second of such a client, at least and at most; their logarithms are spread evenly.
        burst: Publications of a burst; 0 without bursts.
        burst_seconds: From one burst to the next.
        keys: Publications take turns in so many keys; 0 without keys.
        away_seconds: After a close, until a client comes back; None: it stays away.
        seconds: How long the scene lasts.
        room_bytes: What the kernels of both sides take of a client that does not read.
        dialect: The clients' dialect.
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
    room_bytes: float = HIDDEN_BYTES
    dialect: str = "plain"
    seed: int = 1


def make_scene(plan: Plan) -> Scene:
    """Returns the scene of a plan: one channel, its publications, and a reader for each pausing or slow client."""
    chance = random.Random(plan.seed)  # noqa: S311 - a plan is to repeat
    readers = [_reader(plan, f"pausing-{number}", _pauses(plan, chance)) for number in range(plan.pausing)]
    low, high = plan.bandwidth
    readers += [
        _reader(plan, f"slow-{number}", Supply([(0.0, low * (high / low) ** chance.random())]))
        for number in range(plan.slow)
    ]
    return Scene(
        publications=list(_publications(plan)),
        readers=readers,
        fast_clients=plan.clients - len(readers),
        ends=_START + plan.seconds,
        dialect=plan.dialect,
    )


def planned_pauses(scene: Scene) -> list[float]:
    """Returns the seconds of all pauses in a scene."""
    return [seconds for reader in scene.readers for seconds in reader.supply.pauses(until=scene.ends)]


def _reader(plan: Plan, name: str, supply: Supply) -> Reader:
    return Reader(
        name=name, channels=(CHANNEL,), supply=supply, room_bytes=plan.room_bytes, away_seconds=plan.away_seconds
    )


def _pauses(plan: Plan, chance: random.Random) -> Supply:
    """Returns the supply of a client that pauses: the first pause comes at any time of the average between two."""
    pieces, ends = [(0.0, FAST_BYTES)], _START + plan.seconds
    time = _START + chance.uniform(0, plan.between_seconds)
    while time < ends:
        pieces.append((time, 0.0))
        time += max(chance.uniform(*plan.pause_seconds), 1e-6)
        pieces.append((time, FAST_BYTES))
        time += max(chance.expovariate(1 / plan.between_seconds), 1e-6)
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

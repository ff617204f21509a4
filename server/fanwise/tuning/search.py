"""The search: which settings matter for a scene, and which values of these serve it best.

One setting at a time is changed first, and what that changes is measured by replay. Only settings that matter are then
searched, each over a ladder of values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, Final, NamedTuple

from .outcome import Candidate, Outcome
from .replay import Replay
from .scene import Scene

MATTERS: Final = 0.02  # a change of an outcome's figure that counts
NEAR: Final = 0.10  # of the least harm: settings within are as good, and the cheaper one is taken
MOST_STEPS: Final = 3_000_000  # publications times readers of one replay; of more readers a part is replayed
_RUNGS: Final = 10  # of a ladder
_WIDER: Final = 8  # how much wider a bound is tried alone: as good as none
_LEAST_MESSAGES: Final = 32
_LEAST_BYTES: Final = 65_536  # of a queue: the largest message fits by default
_SPARE: Final = 1.25  # what the queue's bytes leave over the largest window seen
_SECONDS_RUNGS: Final = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0)


class Effect(NamedTuple):
    """What changing one setting alone has done.

    Attributes:
        setting: Its name.
        tried: The values beside today's.
        change: The largest relative change of a figure.
        figure: The figure that changed most; empty if none did.
    """

    setting: str
    tried: tuple[Any, ...]
    change: float
    figure: str

    @property
    def matters(self) -> bool:
        """Whether a figure has changed by more than `MATTERS`."""
        return self.change > MATTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a user asks of a setting beside little harm.

    Attributes:
        stale_seconds: The age that 99 of 100 publications may have at most when a client that was behind reads them.
        memory_bytes: What logs and transports may take at worst.
    """

    stale_seconds: float = math.inf
    memory_bytes: float = math.inf


def harm(outcome: Outcome) -> float:
    """Returns what a choice costs clients: connections dropped, or publications lost where the policy skips.

    Publications that a dropped client missed in the end count as a part of the drop, by the share of all that it lost.
    """
    whole = max(outcome.publications, 1)
    return outcome.dropped + outcome.lost / whole


class Search:
    """One search over a scene. Remembers each replay.

    Args:
        scene: What is replayed.
        today: The settings in force.
        wish: What else is asked of the proposal.
        progress: Notified with (replays done, settings tried) after each replay.
    """

    def __init__(
        self,
        scene: Scene,
        today: Candidate,
        *,
        wish: Wish | None = None,
        progress: Callable[[int, Candidate], None] = lambda _done, _candidate: None,
    ) -> None:
        self.today = today
        self.wish = wish or Wish()
        self.share, self.scene = _part(scene)
        self._progress = progress
        self._known: dict[Candidate, Outcome] = {}

    def outcome(self, candidate: Candidate) -> Outcome:
        """Returns what a replay with these settings shows."""
        found = self._known.get(candidate)
        if found is None:
            found = self._known[candidate] = Replay(self.scene, candidate).run()
            self._progress(len(self._known), candidate)
        return found

    # Which settings matter.

    def effects(self) -> list[Effect]:
        """Returns the effect of each setting, changed alone; those that matter most first."""
        found = [self._effect(name, values) for name, values in self._neighbours()]
        return sorted(found, key=lambda effect: effect.change, reverse=True)

    def _neighbours(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        today = self.today
        yield "queue_messages", (max(today.queue_messages // 2, 1), today.queue_messages * _WIDER)
        yield "queue_bytes", (max(today.queue_bytes // 2, _LEAST_BYTES), today.queue_bytes * _WIDER)
        yield "overflow", tuple(one for one in ("disconnect", "drop_oldest", "latest") if one != today.overflow)
        yield "stall_seconds", (today.stall_seconds / 2, today.stall_seconds * 2)
        if today.ping_seconds:
            yield "pong_seconds", (today.pong_seconds / 2, today.pong_seconds * 2)
        yield "forgive_seconds", (1.0, 5.0) if today.forgive_seconds is None else (None, today.forgive_seconds * 2)
        yield "history_messages", (max(today.history_messages // 2, 1), today.history_messages * _WIDER)
        yield "history_bytes", (max(today.history_bytes // 2, _LEAST_BYTES), today.history_bytes * _WIDER)
        yield "history_seconds", (today.history_seconds / 2,)
        yield "close_seconds", (today.close_seconds / 2, today.close_seconds * 2)
        yield "slice_bytes", (max(today.slice_bytes // 2, 1), today.slice_bytes * 2)
        yield "memory_bytes", (max(today.memory_bytes // 2, 1),)

    def _effect(self, name: str, values: tuple[Any, ...]) -> Effect:
        base = figures(self.outcome(self.today))
        largest, figure = 0.0, ""
        for value in values:
            changed: dict[str, Any] = {name: value}
            other = figures(self.outcome(replace(self.today, **changed)))
            for which, before in base.items():
                change = abs(other[which] - before) / max(abs(before), abs(other[which]), _FLOORS[which])
                if change > largest:
                    largest, figure = change, which
        return Effect(name, values, largest, figure)

    # Which values are best.

    def best(self, effects: list[Effect]) -> Candidate:
        """Returns the best choice; today's, unless another one has clearly less harm or takes clearly less memory."""
        matters = {effect.setting for effect in effects if effect.matters}
        best = self.today
        if matters & {"queue_messages", "queue_bytes"} or harm(self.outcome(best)):
            best = self._best_of(best, self.widths())
        best = self._with_patience(best)
        if self.outcome(best).missed:
            factors = (2, 4, 8, 16)
            longer = [
                replace(
                    best,
                    history_messages=best.history_messages * factor,
                    history_bytes=self._bytes_of(best.history_messages * factor, least=best.history_bytes),
                )
                for factor in factors
            ]
            best = self._best_of(best, longer)
        return best

    def _with_patience(self, best: Candidate) -> Candidate:
        """Returns the best choice with longer bounds in time, where clients go because of these.

        A pause may reach the bound of the queue and one in time at once: neither helps alone. So each bound is tried
        with the widest queue too, and then the queue is searched again.
        """
        for setting, reason in (("stall_seconds", "stalled"), ("pong_seconds", "no_pong")):
            outcome, wide = self.outcome(best), self.widths()[-1]
            queues = [best, replace(best, queue_messages=wide.queue_messages, queue_bytes=wide.queue_bytes)]
            if reason not in outcome.reasons and reason not in self.outcome(queues[1]).reasons:
                continue
            now = getattr(best, setting)
            longer: list[dict[str, Any]] = [{setting: value} for value in _SECONDS_RUNGS if value > now]
            patient = self._best_of(best, [replace(queue, **one) for one in longer for queue in queues])
            if patient != best:
                narrower = [
                    replace(patient, queue_messages=one.queue_messages, queue_bytes=one.queue_bytes)
                    for one in self.widths()
                ]
                best = self._best_of(patient, narrower)
        return best

    def policy(self) -> Candidate | None:
        """Returns today's settings with a policy that skips, under which fewest publications are lost.

        None if a policy skips already, nobody is dropped, or half of those go nevertheless.
        """
        dropped = self.outcome(self.today).dropped
        keyed = any(sent.key for sent in self.scene.publications)
        if self.today.overflow != "disconnect" or not dropped:
            return None
        choices = [replace(self.today, overflow=name) for name in ("drop_oldest", *(["latest"] if keyed else []))]
        best = min(choices, key=lambda choice: harm(self.outcome(choice)))
        return best if 2 * self.outcome(best).dropped <= dropped else None

    def widths(self) -> list[Candidate]:
        """Returns today's settings with queues of other widths, the narrowest first. The bytes follow the messages."""
        return [self.width(messages) for messages in self.rungs]

    def width(self, messages: int) -> Candidate:
        """Returns today's settings with a queue of `messages`, and of the bytes that so many take at worst."""
        size = self._bytes_of(messages, least=_LEAST_BYTES)
        return replace(
            self.today,
            queue_messages=messages,
            queue_bytes=size,
            memory_bytes=max(self.today.memory_bytes, 2 * size),
        )

    @cached_property
    def rungs(self) -> list[int]:
        """Widths to try: from few messages to more than a client was ever behind, each by the same factor wider."""
        top = max(self._widest_lag() * _SPARE, 4 * _LEAST_MESSAGES)
        factor = (top / _LEAST_MESSAGES) ** (1 / (_RUNGS - 1))
        return sorted({round(_LEAST_MESSAGES * factor**rung) for rung in range(_RUNGS)})

    def _widest_lag(self) -> int:
        """Returns the furthest that a client falls behind when no bound ends that."""
        unlimited = replace(
            self.today,
            overflow="disconnect",
            queue_messages=len(self.scene.publications) + 1,
            queue_bytes=1 << 40,
            memory_bytes=1 << 50,
            stall_seconds=self.scene.seconds + 1,
        )
        return self.outcome(unlimited).widest_lag

    def _bytes_of(self, messages: int, *, least: int) -> int:
        """Returns the payload bytes that `messages` publications in a row take at most, and some over."""
        sums = [0, *accumulate(sent.size for sent in self.scene.publications)]
        widest = max((sums[min(at + messages, len(sums) - 1)] - sums[at] for at in range(len(sums))), default=0)
        return max(math.ceil(widest * _SPARE), least)

    def _best_of(self, base: Candidate, others: list[Candidate]) -> Candidate:
        choices = [base, *others]
        fitting = [choice for choice in choices if self._fits(choice)] or choices
        least = min(harm(self.outcome(choice)) for choice in fitting)
        good = [choice for choice in fitting if harm(self.outcome(choice)) <= least * (1 + NEAR) + 1e-9]
        cheapest = min(good, key=self._cost)
        if base in good and self._cost(base) <= self._cost(cheapest) * _SPARE:
            return base  # as good as any
        return cheapest

    def _fits(self, choice: Candidate) -> bool:
        outcome = self.outcome(choice)
        return (outcome.age(0.99) or 0.0) <= self.wish.stale_seconds and outcome.memory_bytes <= self.wish.memory_bytes

    def _cost(self, choice: Candidate) -> float:
        return bound_bytes(choice, self.scene)


def bound_bytes(choice: Candidate, scene: Scene) -> float:
    """Returns what one channel's log may take: its bounds in messages and bytes, with what it keeps beside payloads."""
    messages = max(choice.history_messages, choice.queue_messages)
    size = min(max(choice.history_bytes, choice.queue_bytes), messages * scene.size)
    return 2 * size + messages * _OBJECT_BYTES


def figures(outcome: Outcome) -> dict[str, float]:
    """Returns the figures of an outcome that settings are judged by."""
    return {
        "drops": outcome.dropped,
        "lost publications": outcome.lost,
        "age p99": outcome.age(0.99) or 0.0,
        "memory": outcome.memory_bytes,
    }


# Below these a figure is as good as none: one drop among ten, a hundred publications, 100 ms, 1 MB.
_FLOORS: Final = {"drops": 10.0, "lost publications": 100.0, "age p99": 0.1, "memory": 1e6}
_OBJECT_BYTES: Final = 640  # of a publication beside its payload


def _part(scene: Scene) -> tuple[float, Scene]:
    """Returns the share of the readers that is replayed, and the scene with it."""
    steps = len(scene.publications) * max(len(scene.readers), 1)
    stride = math.ceil(steps / MOST_STEPS)
    if stride <= 1:
        return 1.0, scene
    readers = scene.readers[::stride]
    return len(readers) / len(scene.readers), replace(scene, readers=readers)

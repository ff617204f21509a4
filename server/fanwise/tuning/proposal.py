"""The proposal: what to set, what each change costs, what would have happened with it, and how sure that is."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..core.forgiven import Bounds, Forgiven, forgiven
from .outcome import Candidate, Outcome
from .scene import DIALECTS, Scene
from .search import NEAR, Effect, Search, Wish, bound_bytes, harm
from .traced import Traced
from .visits import wire_sizes

AUDITS_SECONDS: Final = 0.5  # two audits: how much later than its bound a slow client is closed, at most
FEW: Final = 10  # drops, pauses or readers below which a figure says little


class Traffic(NamedTuple):
    """What is published, per second and in the busiest quarter of a second.

    Attributes:
        seconds: How long was looked at.
        publications: How many there were.
        rate: Of them a second.
        size: Payload bytes of one, on average.
        burst: The most within a quarter of a second.
        channels: On how many channels.
        clients: How many listened.
        readers: Clients that were ever behind.
    """

    seconds: float
    publications: int
    rate: float
    size: float
    burst: int
    channels: int
    clients: int
    readers: int


class Change(NamedTuple):
    """One setting to change.

    Attributes:
        setting: Its name, as a field of the settings.
        today: Its value now.
        value: Its new value.
        price: What that costs, in one sentence.
    """

    setting: str
    today: Any
    value: Any
    price: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a search has found.

    Attributes:
        scene: What was replayed.
        traffic: What is published.
        pauses: Seconds of the pauses that were seen or planned, sorted.
        censored: Pauses whose end was not seen.
        bandwidths: Bytes a second of readers with little bandwidth, sorted.
        forgiven: The pause that the busiest channel forgives now, and the bound that decides.
        forgiven_then: The same with the proposal.
        effects: What changing one setting alone does.
        today: The outcome with the settings in force.
        best: The outcome with the proposed ones.
        changes: What to change; empty if nothing is worth it.
        policy: The outcome of a policy that skips, where clients are dropped now and the proposal is another one.
        curve: The outcomes of queues of all widths, under today's policy and the others.
        share: The share of the readers that was replayed.
        doubts: What makes the figures less sure, one sentence each.
    """

    scene: Scene
    traffic: Traffic
    pauses: list[float]
    censored: int
    bandwidths: list[float]
    forgiven: Forgiven
    forgiven_then: Forgiven
    effects: list[Effect]
    today: Outcome
    best: Outcome
    changes: list[Change]
    policy: Outcome | None
    curve: dict[str, list[Outcome]]
    share: float
    doubts: list[str]


def propose(search: Search, traced: Traced | None = None, *, pauses: list[float] | None = None) -> Proposal:
    """Returns the proposal of a search.

    Args:
        search: Over a scene.
        traced: What the trace has shown that the scene was made of; None for a plan.
        pauses: The pauses of a plan, in seconds.
    """
    effects = search.effects()
    candidate, today = search.best(effects), search.outcome(search.today)
    if not _worth(today, search.outcome(candidate), search):
        candidate = search.today
    policy = search.policy()
    if policy is not None and 2 * search.outcome(candidate).dropped > today.dropped:
        candidate = policy  # no queue keeps these clients
    best = search.outcome(candidate)
    scene = search.scene
    room = scene.readers[0].room_bytes if scene.readers else None
    return Proposal(
        scene=scene,
        traffic=traffic_of(scene, readers=round(len(scene.readers) / search.share)),
        pauses=sorted(traced.pauses if traced is not None else pauses or []),
        censored=traced.censored if traced is not None else 0,
        bandwidths=sorted(traced.bandwidths) if traced is not None else [],
        forgiven=forgiven_now(search.today, scene, room_bytes=room),
        forgiven_then=forgiven_now(candidate, scene, room_bytes=room),
        effects=effects,
        today=today,
        best=best,
        changes=_changes(today, best, scene),
        policy=None if policy is None or policy == candidate else search.outcome(policy),
        curve=_curve(search),
        share=search.share,
        doubts=_doubts(search, today, best, traced),
    )


def traffic_of(scene: Scene, *, readers: int) -> Traffic:
    """Returns what is published in a scene."""
    times = [sent.time for sent in scene.publications]
    first, burst = 0, 0
    for place, time in enumerate(times):
        while time - times[first] > 0.25:  # noqa: PLR2004 - a quarter of a second, as audits look
            first += 1
        burst = max(burst, place - first + 1)
    return Traffic(
        seconds=scene.seconds,
        publications=len(times),
        rate=scene.rate,
        size=scene.size,
        burst=burst,
        channels=len({sent.channel for sent in scene.publications}),
        clients=scene.fast_clients + readers,
        readers=readers,
    )


def forgiven_now(candidate: Candidate, scene: Scene, *, room_bytes: float | None) -> Forgiven:
    """Returns the pause that the busiest channel of a scene forgives with these settings."""
    counts = Counter(sent.channel for sent in scene.publications)
    name, number = counts.most_common(1)[0] if counts else ("", 0)
    size = sum(sent.size for sent in scene.publications if sent.channel == name) / max(number, 1)
    skips = candidate.overflow != "disconnect"
    return forgiven(
        Bounds(
            queue_messages=candidate.queue_messages,
            queue_bytes=candidate.queue_bytes,
            forgive_seconds=math.inf if candidate.forgive_seconds is None else candidate.forgive_seconds,
            stall_seconds=math.inf if skips else candidate.stall_seconds,
        ),
        messages_per_second=number / scene.seconds if scene.seconds > 0 else 0.0,
        message_bytes=size,
        wire_bytes=wire_sizes(DIALECTS[scene.dialect])(name or "x", round(size), False),
        room_bytes=room_bytes,
    )


def _worth(today: Outcome, best: Outcome, search: Search) -> bool:
    """Returns whether the difference is one that a replay can tell from none."""
    if today.candidate == best.candidate:
        return False
    wish: Wish = search.wish
    unmet = (today.age(0.99) or 0.0) > wish.stale_seconds or today.memory_bytes > wish.memory_bytes
    saves = bound_bytes(best.candidate, search.scene) < (1 - NEAR) * bound_bytes(today.candidate, search.scene)
    return unmet or saves or harm(best) < (1 - NEAR) * harm(today)


def _changes(today: Outcome, best: Outcome, scene: Scene) -> list[Change]:
    return [
        Change(name, getattr(today.candidate, name), value, _price(name, today, best, scene))
        for name, value in best.candidate.differences(today.candidate).items()
    ]


def skipping(outcome: Outcome) -> str:
    """Returns the price of a policy that skips."""
    given = len(outcome.ages) + outcome.lost
    share = outcome.lost / given if given else 0.0
    return (
        f"{outcome.lost:,} publications skipped, {share:.0%} of those for clients that were behind; "
        "plain clients are not told of them"
    )


def _price(name: str, now: Outcome, best: Outcome, scene: Scene) -> str:
    today, then = now.candidate, best.candidate
    prices = {
        "overflow": f"{best.dropped} connections dropped, {now.dropped} now; {skipping(best)}",
        "stall_seconds": f"a dead client is found after {then.stall_seconds:g} s, {today.stall_seconds:g} s now",
        "pong_seconds": f"a dead idle client goes {then.pong_seconds:g} s after a ping, {today.pong_seconds:g} s now",
        "memory_bytes": "the process may grow to that before history and clients go",
    }
    return prices.get(name) or _memory_price(name, today, then, scene)


def _memory_price(name: str, today: Candidate, then: Candidate, scene: Scene) -> str:
    if not name.startswith(("queue_", "history_")):
        return "no memory and no time"
    before, after = bound_bytes(today, scene), bound_bytes(then, scene)
    more = f"a channel's log takes {_size(after)} at most, {_size(before)} now"
    if name == "queue_messages" and scene.rate > 0:
        wait = then.queue_messages / scene.rate
        return f"{more}; a client that never reads again goes after {wait:.1f} s or the stall bound"
    return more


def _size(value: float) -> str:
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{value / 1e3:.0f} KB"  # noqa: PLR2004 - decimal units


def _curve(search: Search) -> dict[str, list[Outcome]]:
    """Returns {policy: outcomes over the width of the queue}."""
    return {search.today.overflow: [search.outcome(candidate) for candidate in search.widths()]}


def _doubts(search: Search, today: Outcome, best: Outcome, traced: Traced | None) -> list[str]:
    doubts = []
    if len(search.scene.readers) < FEW:
        doubts.append(f"Only {len(search.scene.readers)} clients were ever behind.")
    if search.today.overflow == "disconnect" and 0 < today.dropped < FEW:
        doubts.append(f"Only {today.dropped} connections would have been dropped: one more or less is chance.")
    if search.share < 1:
        doubts.append(f"Of the clients that were behind, {search.share:.0%} were replayed.")
    if max(today.outrun, best.outrun) * 10 > today.audits:
        doubts.append("Most clients were behind at times: a server makes its producers wait, a replay does not.")
    if traced is None:
        doubts.append("A plan says what is expected, not what is: a trace is worth more.")
        return doubts
    if not traced.room_seen:
        assumed = _size(traced.room_bytes)
        doubts.append(
            f"The trace does not show what kernels take of a client that does not read: {assumed} are assumed."
        )
    if traced.censored:
        doubts.append(
            f"{traced.censored} of {traced.censored + len(traced.pauses)} pauses ended unseen: they are taken to last "
            "as long as the median of the longer ones, or as long again as they were seen to last."
        )
    if today.dropped and traced.scene.readers and traced.scene.readers[0].away_seconds is None:
        doubts.append("Dropped clients were not seen to come back, so replayed ones stay away.")
    if not traced.book.whole:
        doubts.append("The trace was cut: what came after it is unknown.")
    return doubts

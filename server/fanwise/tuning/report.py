"""A proposal as text for a terminal, as environment variables, as TOML, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from ..core.forgiven import Forgiven
from ..tools.humanize import number, size, span
from .outcome import Outcome
from .proposal import AUDITS_SECONDS, Change, Proposal, Traffic, skipping
from .search import Effect, bound_bytes

VERSION: Final = 1  # of the JSON document
# By which share replays from a trace were off beside a real server, in the median and at worst (docs/tuning.md).
ERRORS: Final = {"drops": (0.051, 0.163), "lost": (0.018, 0.084), "age": (0.039, 0.22)}


def lines(proposal: Proposal) -> list[str]:
    """Returns the whole proposal."""
    return [
        *_traffic(proposal.traffic),
        *_pauses(proposal),
        *_forgiven(proposal),
        *_matters(proposal.effects),
        "",
        *_changes(proposal.changes),
        *_policy(proposal.policy),
        *_happened(proposal),
        *_doubts(proposal),
    ]


def environment(changes: Sequence[Change]) -> list[str]:
    """Returns the changes as lines of an environment or an `.env` file."""
    return [f"FANWISE_{change.setting.upper()}={change.value}" for change in changes]


def toml(changes: Sequence[Change]) -> list[str]:
    """Returns the changes as TOML, with the price of each as a comment."""
    return [
        "[fanwise]",
        *(f"{change.setting} = {_quoted(change.value)}  # {change.price}" for change in changes),
    ]


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _traffic(traffic: Traffic) -> Iterator[str]:
    yield (
        f"traffic    {number(traffic.publications)} publications in {span(traffic.seconds)} "
        f"({number(traffic.rate)}/s, at most {number(traffic.burst)} in 250 ms), {size(traffic.size)} each, "
        f"{traffic.channels} {'channel' if traffic.channels == 1 else 'channels'}"
    )
    yield f"clients    {number(traffic.clients)}, of which {number(traffic.readers)} were behind"


def _pauses(proposal: Proposal) -> Iterator[str]:
    pauses, rates = proposal.pauses, proposal.bandwidths
    if pauses:
        middle, most = pauses[len(pauses) // 2], pauses[-1]
        unseen = f"; {proposal.censored} more ended unseen" if proposal.censored else ""
        yield f"pauses     {len(pauses)}: {span(middle)} in the middle, {span(most)} the longest{unseen}"
    if rates:
        yield f"bandwidth  {len(rates)} clients with little: {size(rates[0])}/s to {size(rates[-1])}/s while behind"


def _forgiven(proposal: Proposal) -> Iterator[str]:
    for title, one in (("now", proposal.forgiven), ("then", proposal.forgiven_then)):
        if title == "then" and not proposal.changes:
            return
        if math.isinf(one.seconds):
            yield f"forgiven   {title}: a pause of any length"
            continue
        yield (
            f"forgiven   {title}: a pause of {span(one.seconds)} on the busiest channel, "
            f"{span(one.hidden_seconds)} of it hidden in the kernels; {one.bound.value} decides"
        )


def _matters(effects: list[Effect]) -> Iterator[str]:
    yield "settings   changed alone, to half and to more:"
    for effect in effects:
        if effect.matters:
            yield f"             {effect.setting}: {effect.figure} changes by up to {effect.change:.0%}"
    idle = ", ".join(effect.setting for effect in effects if not effect.matters)
    if idle:
        yield f"             alone without a difference for this traffic: {idle}"


def _changes(changes: list[Change]) -> Iterator[str]:
    if not changes:
        yield "proposal   nothing to change: no other setting that was tried does clearly better"
        return
    yield "proposal   as environment, and as TOML with the price of each:"
    yield ""
    yield from environment(changes)
    yield ""
    yield from toml(changes)
    yield ""


def _policy(outcome: Outcome | None) -> Iterator[str]:
    if outcome is not None:
        yield f"or         FANWISE_OVERFLOW={outcome.candidate.overflow} with the settings of today instead:"
        yield f"             {outcome.dropped} connections dropped; {skipping(outcome)}"
        yield ""


def _happened(proposal: Proposal) -> Iterator[str]:
    traffic = proposal.traffic
    yield f"what would have happened in these {span(traffic.seconds)}:"
    columns = [("today", proposal.today)]
    if proposal.changes:
        columns.append(("proposed", proposal.best))
    yield f"{'':<60}" + "".join(f"{title:>14}" for title, _ in columns)
    for title, row in _rows([outcome for _, outcome in columns], proposal):
        yield f"  {title:<58}" + "".join(f"{cell:>14}" for cell in row)


def _rows(outcomes: list[Outcome], proposal: Proposal) -> Iterator[tuple[str, list[str]]]:
    drops, lost, age = (f"off by {median:.0%}, {most:.0%} at worst" for median, most in ERRORS.values())
    yield f"connections dropped ({drops})", [number(one.dropped) for one in outcomes]
    yield "clients dropped", [number(one.dropped_readers) for one in outcomes]
    yield f"publications lost ({lost})", [number(one.lost) for one in outcomes]
    yield "resumed without a loss", [f"{one.recovered}/{one.returns}" for one in outcomes]
    yield f"age p99 of clients behind ({age})", [span(one.age(0.99) or 0.0) for one in outcomes]
    yield "memory at worst", [size(one.memory_bytes) for one in outcomes]
    yield "memory bound of a channel", [size(bound_bytes(one.candidate, proposal.scene)) for one in outcomes]
    yield "a dead client is found within", [span(one.candidate.stall_seconds + AUDITS_SECONDS) for one in outcomes]


def _doubts(proposal: Proposal) -> Iterator[str]:
    yield ""
    traffic = proposal.traffic
    yield (
        f"confidence {number(traffic.publications)} publications, {number(traffic.readers)} clients behind, "
        f"{len(proposal.pauses)} pauses, {proposal.today.audits} audits"
    )
    for doubt in proposal.doubts:
        yield f"             {doubt}"


def document(proposal: Proposal) -> dict[str, Any]:
    """Returns all figures of a proposal, with units in their names."""
    return {
        "version": VERSION,
        "traffic": proposal.traffic._asdict(),
        "pauses_seconds": proposal.pauses,
        "pauses_censored": proposal.censored,
        "bandwidths_bytes_per_second": proposal.bandwidths,
        "forgiven": {"today": _pause(proposal.forgiven), "proposed": _pause(proposal.forgiven_then)},
        "effects": [{**effect._asdict(), "matters": effect.matters} for effect in proposal.effects],
        "proposal": [change._asdict() for change in proposal.changes],
        "environment": environment(proposal.changes),
        "policy": None if proposal.policy is None else outcome(proposal.policy),
        "today": outcome(proposal.today),
        "proposed": outcome(proposal.best),
        "curve": {policy: [outcome(one) for one in curve] for policy, curve in proposal.curve.items()},
        "replayed_share": proposal.share,
        "errors": {name: {"median": median, "worst": worst} for name, (median, worst) in ERRORS.items()},
        "doubts": proposal.doubts,
    }


def outcome(one: Outcome) -> dict[str, Any]:
    """Returns the figures of an outcome."""
    return {
        "settings": asdict(one.candidate),
        "dropped": one.dropped,
        "dropped_clients": one.dropped_readers,
        "reasons": one.reasons,
        "skipped": one.skipped,
        "missed": one.missed,
        "returned": one.returns,
        "recovered": one.recovered,
        "age_p50_seconds": one.age(0.5),
        "age_p99_seconds": one.age(0.99),
        "memory_bytes": one.memory_bytes,
        "log_bytes": one.log_bytes,
        "buffered_bytes": one.buffered_bytes,
        "widest_lag": one.widest_lag,
        "drops": [
            {
                "at": drop.time,
                "client": drop.reader,
                "reason": drop.reason.name.lower(),
                "lag": drop.lag,
                "behind_seconds": drop.behind_seconds,
            }
            for drop in one.drops
        ],
    }


def _pause(one: Forgiven) -> dict[str, Any]:
    return {
        "seconds": None if math.isinf(one.seconds) else one.seconds,
        "bound": one.bound.value,
        "hidden_seconds": None if math.isinf(one.hidden_seconds) else one.hidden_seconds,
    }

"""The figures of a run in words, for people."""

from __future__ import annotations

from collections.abc import Iterable

from ...humanize import milliseconds, number, size
from ...load.behaviour import READ_LATE, Behaviour
from ..load.plan import Plan
from ..run.capacity import Capacity
from ..run.comparison import Comparison
from ..run.results import QUANTILES, Results

_SHOWN_CAUSES = 8
_RATE_CODE = "1008"
_LIMITED = (
    "              the server limits what one connection sends: on loopback, start it with FANWISE_RATE_LIMITS=no"
)


def load(plan: Plan) -> str:
    """Returns a plan in one line."""
    odd = ", ".join(f"{count} {name}" for name, count in _odd(plan) if count)
    pace = f"saturated ({plan.window_messages} in flight)" if plan.saturates else " and ".join(_paces(plan))
    parts = [f"{plan.clients:,} clients" + (f" ({odd})" if odd else "")]
    if plan.channels > 1:
        parts.append(f"{plan.channels} channels")
    size_bytes = [f"{plan.size_bytes} bytes"] if plan.recording is None else []
    return ", ".join([*parts, *size_bytes, pace, f"{plan.duration_seconds:g} s", plan.dialect])


def _odd(plan: Plan) -> Iterable[tuple[str, int]]:
    replayed = 0 if plan.recording is None else len(plan.recording.readers)
    yield from (("slow", plan.slow), ("stalled", plan.stalled), ("flapping", plan.flapping))
    yield from (("pausing", plan.pausing), ("replayed", replayed))


def _paces(plan: Plan) -> Iterable[str]:
    if plan.recording is not None:
        yield f"{sum(map(len, plan.recording.channels)):,} recorded messages"
    if plan.rate is not None:
        yield f"{plan.rate:g} messages/s"
    if plan.burst_messages:
        yield f"{plan.burst_messages:,} at once each {plan.every_seconds:g} s"


def verdict(score: Results) -> str:
    """Returns one sentence: flaws always, and praise only where the generator was not the bottleneck."""
    told = ", ".join(f"{times:,} {name}" for name, times in score.flaws.items())
    if score.bottleneck:
        return f"not comparable: {score.bottleneck}" + (f" (and {told})" if told else "")
    if told:
        return f"flawed: {told}"
    if not score.deliveries:
        return "nothing was delivered"
    return "every message reached every healthy client once, whole and in order"


def lines(name: str, score: Results) -> list[str]:
    """A run, in a dozen lines."""
    latency = "  ".join(f"{quantile} {milliseconds(score.quantile_ms(quantile))}" for quantile in QUANTILES)
    flaws = "  ".join(
        f"{flaw} {score.count(flaw, Behaviour.HEALTHY, Behaviour.FLAPPING):,}"
        for flaw in ("lost", "duplicates", "reordered", "corrupt")
    )
    per_second = score.published / score.elapsed_seconds if score.elapsed_seconds else 0.0
    payload = size(score.deliveries_per_second * score.plan.size_bytes)
    detail = f"{number(per_second)} messages/s, {payload}/s of payload"
    return [
        f"{name}: {load(score.plan)}",
        f"  delivered   {number(score.deliveries_per_second)}/s  ({detail}; {score.deliveries:,} in all)",
        f"  latency     {latency}",
        f"  messages    {flaws}  undelivered {score.undelivered:,}",
        *_drops(score),
        *late_readers(score),
        *_others(score),
        *_server(score),
        *_generator(score),
        f"  verdict     {verdict(score)}",
    ]


def _drops(score: Results) -> list[str]:
    causes = score.drop_counts.most_common()
    if not causes:
        return ["  dropped     nobody"]
    shown = [f"{times} {kind}: {cause}{_when(score, kind, cause)}" for (kind, cause), times in causes[:_SHOWN_CAUSES]]
    more = [f"{len(causes) - _SHOWN_CAUSES} more causes"] if len(causes) > _SHOWN_CAUSES else []
    limited = any(cause.startswith(_RATE_CODE) for (_, cause), _ in causes)
    return [f"  dropped     {'; '.join(shown + more)}", *([_LIMITED] if limited else [])]


def _when(score: Results, kind: Behaviour, cause: str) -> str:
    found = score.drop_times(kind, cause)
    if found is None:
        return ""
    first, last = (f"{seconds:.1f}" for seconds in found)
    return f" (at {first} s)" if first == last else f" ({first} to {last} s)"


def late_readers(score: Results) -> list[str]:
    """Returns a line for each kind of clients that read late: what became of them, and how stale their data was."""
    return [line for kind in READ_LATE if (line := _late_reader(score, kind))]


def _late_reader(score: Results, kind: Behaviour) -> str:
    read, dropped, left = score.count("deliveries", kind), score.dropped(kind), score.open_clients[kind]
    if not (read or dropped or left):
        return ""
    parts = [f"{dropped:,} dropped", f"{left:,} still connected"]
    if returned := score.count("returned", kind):
        parts.append(f"{returned:,} came back ({score.count('recovered', kind):,} without a gap)")
    parts.append(f"{score.count('lost', kind):,} skipped")
    told = score.count("gaps_told", kind)
    parts += [f"{told:,} of them announced"] if told else []
    p50_ms, p99_ms = score.staleness_ms(kind, "p50"), score.staleness_ms(kind, "p99")
    if p50_ms is not None and p99_ms is not None:
        parts.append(f"staleness p50 {milliseconds(p50_ms)}, p99 {milliseconds(p99_ms)}")
    return f"  {kind.value:<11} {', '.join(parts)}"


def _others(score: Results) -> list[str]:
    found = [f"flapping left {score.flaps:,} times"] if score.flaps else []
    found += [f"{note} ({times} times)" for note, times in score.notes.most_common(_SHOWN_CAUSES)]
    return [f"  others      {'; '.join(found)}"] if found else []


def _server(score: Results) -> list[str]:
    server, each = score.server, score.cpu_per_delivery_ns
    if score.server_share is None:
        return ["  server      CPU and memory unknown: --server-pid tells which process it is"]
    parts = [f"CPU {score.server_share:.2f} cores"]
    if each is not None:
        parts.append(f"{each:,.0f} ns per delivery")
    if server.rss_start_bytes and server.rss_peak_bytes:
        parts.append(f"RSS {size(server.rss_start_bytes)}, at most {size(server.rss_peak_bytes)}")
    return [f"  server      {', '.join(parts)}"]


def _generator(score: Results) -> list[str]:
    shares = ", ".join(f"{effort.cpu_share:.2f}" for effort in score.efforts)
    waited = max((effort.waited_share for effort in score.efforts), default=0.0)
    lag = milliseconds(score.lag.quantile_ns(0.99) / 1e6)
    return [
        f"  generator   CPU {shares} cores, in line for one {waited:.0%} of the time, read at most {lag} late (p99)"
    ]


def factor_lines(rival: str, factors: Comparison) -> list[str]:
    """Fanwise against a rival."""
    return [f"Fanwise against {rival}:", *(f"  {line}" for line in factors.sentences())]


def capacity_lines(capacity: Capacity) -> list[str]:
    """Returns the steps of a search and its result."""
    bound = f"{capacity.bound.name} of {milliseconds(capacity.bound.limit_ms)}"
    steps = [
        f"  {number(step.rate):>9} messages/s  {number(step.score.deliveries_per_second):>9} deliveries/s  "
        f"{capacity.bound.name} {milliseconds(step.score.quantile_ms(capacity.bound.name)):>9}  "
        f"{'broke: ' + step.broken if step.broken else 'held'}"
        for step in capacity.steps
    ]
    held = capacity.held
    found = f"no rate held a {bound}"
    if held is not None:
        least = "at least " if capacity.limited else ""
        rate, total = number(held.rate), number(held.score.deliveries_per_second)
        found = f"the knee: {least}{rate} messages/s, {total} deliveries/s"
    limited = [f"  not found further: {capacity.limited}"] if capacity.limited else []
    return [f"capacity within a {bound}", *steps, *limited, f"  {found}"]

"""`--html`: one page that needs nothing else. Made from the record alone; foreign text is escaped."""

from __future__ import annotations

from html import escape
from math import floor, log
from typing import Any

from ...humanize import milliseconds
from .charts import BAR_FACTOR, Point, bars, curve, marks

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #667085; --line: #d5dae1; --paper: #fff; --accent: #2563eb;
  --second: #b45309; --bad: #b42318; --good: #067647; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #98a2b3; --line: #344054; --paper: #12161c;
  --accent: #7aa7ff; --second: #f0b35a; --bad: #ff8a7a; --good: #6ad7a4; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem }
h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem }
h3 { font-size: 1rem; margin-bottom: .3rem }
table { border-collapse: collapse } td, th { text-align: left; padding: .15rem 1.2rem .15rem 0; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } th { color: var(--soft); font-weight: 500 }
.verdict { padding: .6rem .9rem; border-left: 4px solid var(--good) }
.verdict.bad { border-color: var(--bad) }
.verdict.open { border-color: var(--line) }
svg { width: 100%; height: auto; display: block } svg text { fill: var(--soft); font: 11px system-ui, sans-serif }
.axis { stroke: var(--line) }
.bar { fill: var(--accent) }
.first { stroke: var(--accent) } .second { stroke: var(--second) }

.curve { fill: none; stroke-width: 1.5 } .mark { fill: var(--bad) } .soft { color: var(--soft) }
"""
_SHOWN_DROPS = 200
_LATENCIES = ("p50", "p90", "p99", "p99.9", "max")


def page(record: dict[str, Any]) -> str:
    """Returns the whole page for a record that `json.of_everything` has made."""
    machine = record["machine"]
    facts = f"{record['at']}, Python {machine['python']}, {machine['system']}, {machine['cpus']} CPUs"
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1"><title>fanwise bench</title>',
        f"<style>{_STYLE}</style></head><body><h1>fanwise bench</h1><p class=soft>{escape(facts)}</p>",
        _factors(record["factors"]),
        _capacity(record["capacity"]),
        *(_run(run) for run in record["runs"]),
        "</body></html>\n",
    ]
    return "".join(parts)


def _run(run: dict[str, Any]) -> str:
    tone = " bad" if run["flaws"] or not run["deliveries"] else " open" if run["bottleneck"] else ""
    return "".join(
        (
            f"<h2>{escape(run['server'])}</h2><p class=soft>{escape(run['load'])}, at {escape(run['plan']['url'])}</p>",
            f'<p class="verdict{tone}">{escape(run["verdict"])}</p>',
            _figures(run),
            "<h3>Latency: share of deliveries by how long they took</h3>",
            bars(_distribution(run["latency_histogram"])),
            "<h3>Deliveries per second (blue, left) and p99 latency in ms (amber, right) over time</h3>",
            curve(_throughput(run["timeline"]), _p99(run["timeline"])),
            _kinds(run),
            _drops(run),
        )
    )


def _figures(run: dict[str, Any]) -> str:
    server, generator = run["server_process"], run["generator"]
    rows = [("deliveries per second", f"{run['deliveries_per_second']:,.0f}")]
    rows += [(f"latency {name}", f"{run['latency_ms'][name]:,.3f} ms") for name in _LATENCIES]
    for flaw in ("lost", "duplicates", "reordered", "corrupt"):
        rows.append((flaw, f"{run['clients']['healthy'][flaw] + run['clients']['flapping'][flaw]:,}"))
    rows.append(("undelivered", f"{run['undelivered']:,}"))
    if server["cpu_cores"] is not None:
        rows.append(("server CPU", f"{server['cpu_cores']:.2f} cores"))
    if server["cpu_per_delivery_ns"] is not None:
        rows.append(("server CPU per delivery", f"{server['cpu_per_delivery_ns']:,.0f} ns"))
    if server["rss_peak_bytes"]:
        rows.append(("server memory, at most", f"{server['rss_peak_bytes'] / 1e6:,.0f} MB"))
    shares = ", ".join(f"{process['cpu_cores']:.2f}" for process in generator["processes"])
    rows.append(("generator CPU, by process", f"{shares} cores"))
    rows.append(("generator read late (p99)", f"{generator['lag_p99_ms']:.3f} ms"))
    return _table((), rows)


def _kinds(run: dict[str, Any]) -> str:
    """Returns the clients that read late beside the healthy ones; nothing if there were none."""
    late = [
        (kind, told)
        for kind, told in run["clients"].items()
        if "staleness_ms" in told and (told["deliveries"] or told["dropped"] or told["open"])
    ]
    if not late:
        return ""
    healthy = run["clients"]["healthy"]
    rows = [_kind("healthy", healthy, run["latency_ms"], back="")]
    rows += [
        _kind(kind, told, told["staleness_ms"], back=f"{told['returned']:,} ({told['recovered']:,} without a gap)")
        for kind, told in late
    ]
    heads = ("kind", "at the end", "dropped", "came back", "skipped", "age when read: p50", "p99", "max")
    return f"<h3>Clients that read late, beside the healthy ones</h3>{_table(heads, rows)}"


def _kind(kind: str, told: dict[str, Any], ages_ms: dict[str, Any], *, back: str) -> tuple[str, ...]:
    ages = (ages_ms[name] for name in ("p50", "p99", "max"))
    shown = ("" if age is None else milliseconds(age) for age in ages)
    return kind, f"{told['open']:,}", f"{told['dropped']:,}", back, f"{told['lost']:,}", *shown


def _drops(run: dict[str, Any]) -> str:
    if not run["drops"]:
        return "<h3>Dropped: nobody</h3>"
    causes = [(drop["kind"], drop["cause"], f"{drop['clients']:,}") for drop in run["drops"]]
    when = run["dropped_when"]
    single = [(f"{drop['at_seconds']:.3f} s", drop["kind"], drop["cause"]) for drop in when[:_SHOWN_DROPS]]
    more = f"<p class=soft>and {len(when) - _SHOWN_DROPS:,} more</p>" if len(when) > _SHOWN_DROPS else ""
    end = max(run["plan"]["duration_seconds"], *(drop["at_seconds"] for drop in when))
    return "".join(
        (
            "<h3>Who was dropped, and why</h3>",
            _table(("kind", "cause", "clients"), causes),
            "<h3>When (seconds)</h3>",
            marks([drop["at_seconds"] for drop in when], end=end),
            f"<details><summary>one by one</summary>{_table(('when', 'kind', 'cause'), single)}{more}</details>",
        )
    )


def _factors(factors: dict[str, Any] | None) -> str:
    if factors is None:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in factors["sentences"])
    return f"<h2>Fanwise against {escape(factors['rival'])}</h2><ul>{items}</ul>"


def _capacity(capacity: dict[str, Any] | None) -> str:
    if capacity is None:
        return ""
    bound = capacity["bound"]
    steps = [
        (
            f"{step['rate']:,.1f}",
            f"{step['deliveries_per_second']:,.0f}",
            f"{step['latency_ms']:,.2f} ms",
            step["broken"] or "held",
        )
        for step in sorted(capacity["steps"], key=lambda step: step["rate"])
    ]
    held = f"{capacity['held_rate']:,.1f} messages/s held" if capacity["held_rate"] else "no rate held"
    limited = f" Not found further: {capacity['limited']}." if capacity["limited"] else ""
    return (
        f"<h2>Capacity within a {escape(bound['percentile'])} of {bound['limit_ms']:g} ms</h2>"
        f"<p>{escape(held + '.' + limited)}</p>"
        + _table(("messages/s", "deliveries/s", bound["percentile"], ""), steps)
    )


def _table(heads: tuple[str, ...], rows: list[Any]) -> str:
    head = "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in heads) + "</tr>" if heads else ""
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{head}{body}</table>"


def _distribution(histogram: list[dict[str, Any]]) -> list[Point]:
    """[(ms, share)]: eight bars for each doubling."""
    total = sum(entry["deliveries"] for entry in histogram)
    grouped: dict[float, int] = {}
    for entry in histogram:
        middle_ms = (entry["from_ms"] + entry["to_ms"]) / 2
        step = BAR_FACTOR ** floor(log(max(middle_ms, 1e-3), BAR_FACTOR))
        grouped[step] = grouped.get(step, 0) + entry["deliveries"]
    return [(step, count / total) for step, count in sorted(grouped.items())]


def _throughput(timeline: list[dict[str, Any]]) -> list[Point]:
    points, before = [], 0.0
    for moment in timeline:
        width = moment["at_seconds"] - before
        if width > 0 and moment["deliveries"]:
            points.append((moment["at_seconds"], moment["deliveries"] / width))
        before = moment["at_seconds"]
    return points


def _p99(timeline: list[dict[str, Any]]) -> list[Point]:
    return [(moment["at_seconds"], moment["p99_ms"]) for moment in timeline if moment["deliveries"]]

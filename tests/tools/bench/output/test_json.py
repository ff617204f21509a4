from __future__ import annotations

import json

from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.output.json import FORMAT, of_capacity, of_everything, of_run
from fanwise.tools.bench.run.capacity import Bound, find_capacity

from ....support.bench import dropped, score


def test_a_record_is_json() -> None:
    """With every figure, the machine, and no secret of the handshakes."""
    plan = Plan(url="ws://h/", headers=("Authorization: Bearer geheim",))
    capacity = find_capacity(Bound("p99", 100.0), 1.0, lambda _rate: score(plan=plan, cpu_seconds=0.99))
    whole = of_everything(
        [of_run("Fanwise", score(plan=plan, **dropped("4009")))], factors=None, capacity=of_capacity(capacity)
    )
    text = json.dumps(whole, allow_nan=False)
    assert "geheim" not in text
    read = json.loads(text)
    assert read["format"] == FORMAT
    run = read["runs"][0]
    assert run["deliveries"] == 1000
    assert sum(entry["deliveries"] for entry in run["latency_histogram"]) == 1000
    assert run["latency_ms"].keys() == {"p50", "p90", "p99", "p99.9", "max", "mean"}
    assert run["drops"] == [{"kind": "stalled", "cause": "4009", "clients": 1}]
    assert run["dropped_when"] == [{"at_seconds": 0.5, "kind": "stalled", "cause": "4009"}]
    assert run["clients"]["stalled"]["dropped"] == 1
    assert run["clients"]["stalled"]["staleness_ms"]["p99"] is None
    assert "staleness_ms" not in run["clients"]["healthy"]
    assert run["server_process"]["cpu_per_delivery_ns"] == 500_000
    assert read["capacity"]["limited"].startswith("at 1 messages/s")

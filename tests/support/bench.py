"""Scores and streams for tests, made of real parts."""

from __future__ import annotations

from typing import Any

from fanwise.tools.bench.load.payload import Payloads
from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.load.receiver import Lane, Receiver, Tally
from fanwise.tools.bench.load.snapshots import Drop, Snapshot
from fanwise.tools.bench.load.stream import Progress, Stream
from fanwise.tools.bench.run.conductor import Conductor
from fanwise.tools.bench.run.results import Results
from fanwise.tools.load.behaviour import Behaviour
from fanwise.tools.load.histogram import Histogram
from fanwise.tools.load.wire import TEXT

MILLISECOND = 1_000_000
TOKEN = "abcd1234"
PAYLOADS = Payloads(TOKEN, size_bytes=64)
START_NS = 10**12


def frame(sequence: int, sent_ns: int = 5, *, prefix: bytes = b"Message: ", opcode: int = TEXT) -> bytes:
    """A message as the server sends it."""
    return server_frame(prefix + PAYLOADS.build(sequence, sent_ns), opcode=opcode)


def server_frame(payload: bytes, *, opcode: int = TEXT, final: bool = True) -> bytes:
    """An unmasked frame of less than 64 KiB."""
    size = len(payload)
    head = (
        bytes((0x80 * final | opcode, size)) if size < 126 else bytes((0x80 * final | opcode, 126, *divmod(size, 256)))
    )
    return head + payload


def receiver(stream: Stream | None = None, *, measured_from: int = 1, progress: Progress | None = None) -> Receiver:
    """A client whose socket nobody reads."""
    lane = Lane(stream or Stream(PAYLOADS), Tally(), progress=progress, measured_from=measured_from)
    return Receiver(lane, lambda _buffer: 0)


def snapshot(worker: int = 0, **changes: Any) -> Snapshot:
    """Of a worker that has seen nothing, but for `changes`."""
    values: dict[str, Any] = {
        "worker": worker,
        "at_ns": START_NS + 1_000_000_000,
        "tallies": {kind: Tally() for kind in Behaviour},
        "published": {},
        "open_clients": {},
        "drops": [],
        "drop_counts": {},
        "lag": Histogram(),
        "late": Histogram(),
        "cpu_seconds": 0.0,
        "waited_seconds": 0.0,
    }
    return Snapshot(**{**values, **changes})


def delivered(count: int, latency_ns: int, *, elapsed_ns: int = 1_000_000_000) -> dict[Behaviour, Tally]:
    """Tallies of clients that received `count` messages, each in `latency_ns`."""
    tallies = {kind: Tally() for kind in Behaviour}
    healthy = tallies[Behaviour.HEALTHY]
    healthy.deliveries, healthy.last_ns = count, START_NS + elapsed_ns
    healthy.latency.add(latency_ns, count)
    return tallies


def score(
    *,
    plan: Plan | None = None,
    deliveries: int = 1000,
    latency_ns: int = 2 * MILLISECOND,
    cpu_seconds: float = 0.1,
    **changes: Any,
) -> Results:
    """Of a run of one second in which everything arrived, but for `changes` of its only snapshot."""
    plan = plan or Plan(url="ws://127.0.0.1:1/ws")
    made = Results(plan, start_ns=START_NS, stopped_ns=START_NS + 1_000_000_000)
    values: dict[str, Any] = {
        "tallies": delivered(deliveries, latency_ns),
        "published": {0: plan.warmup_messages + 1},
        "cpu_seconds": cpu_seconds,
        "server_cpu_seconds": 0.5,
        **changes,
    }
    made.add(snapshot(**values))
    made.mark()
    return made


def dropped(cause: str, *, kind: Behaviour = Behaviour.STALLED, times: int = 1) -> dict[str, Any]:
    """Changes of a snapshot: the server ended so many connections."""
    return {"drops": [Drop(0.5, kind, cause)] * times, "drop_counts": {(kind, cause): times}}


def run(plan: Plan) -> Results:
    """The plan, carried out by processes of their own."""
    return Conductor(plan, lambda _phase, _score: None).run()

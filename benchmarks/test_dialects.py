"""The JSON dialect and Server-Sent Events against the plain dialect: what their words cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager

import orjson
import pytest
from pydantic import TypeAdapter
from pytest_benchmark.fixture import BenchmarkFixture

from fanwise.core.dialect import JSON, PLAIN, SSE, SSE_JSON, Dialect
from fanwise.core.lease import Lease
from fanwise.routes.json_models import Op, Publish, UsualPublish, parse_op

from .gates.scenarios import Step, dialects
from .harness import TakesAll, stage
from .ready_channel import PAYLOAD

Descriptors = Callable[[int], list[int]]


@pytest.mark.parametrize("dialect", [PLAIN, JSON, SSE, SSE_JSON], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("clients", [1, 100, 1000, 10_000])
def test_publish_and_sweep(
    benchmark: BenchmarkFixture, descriptors: Descriptors, clients: int, dialect: Dialect
) -> None:
    """Guards that a dialect is paid for per publication: the twin is the plain one, and the gap does not grow."""
    benchmark.group = f"{clients} clients, one publication, by dialect"
    fds = descriptors(clients)
    with stage() as place:
        channel = place.broadcaster._hub.channel("lobby", time=0.0)
        member, group = place.enter(TakesAll(fds[0]), dialect=dialect), channel.group(dialect.encode)
        for fd in fds[1:]:  # ready at once: handing 10,000 clients in is not what is measured
            group.join(place.broadcaster._hub.subscribe(channel.name, time=0.0).queue, member, lease=Lease(fd))
        text = PAYLOAD.decode()

        def run() -> None:
            place.broadcaster.publish_nowait("lobby", text)
            place.sweep(channel)

        benchmark(run)
        assert channel.deliveries == clients * channel.log.head
        for fd, (queue, _) in [pair for cohort in group for pair in cohort.by_fd.items()]:
            if fd != fds[0]:
                group.leave(queue, lease=Lease(fd))


@pytest.mark.parametrize(
    "way", ["orjson, then checked", "orjson, then a model", "json, then checked", "pydantic alone"]
)
def test_parse(benchmark: BenchmarkFixture, way: str) -> None:
    """Guards how an op is parsed: JSON first, so that each mistake gets its own name. The twins: slower, or without."""
    benchmark.group = "an op parsed"
    ops: TypeAdapter[object] = TypeAdapter(Op)
    ways: dict[str, Callable[[], object]] = {
        "orjson, then checked": lambda: parse_op(dialects.PUBLISH),
        "orjson, then a model": lambda: ops.validate_python(orjson.loads(dialects.PUBLISH)),
        "json, then checked": lambda: ops.validate_python(json.loads(dialects.PUBLISH)),
        "pydantic alone": lambda: ops.validate_json(dialects.PUBLISH),
    }
    parsed = parse_op(dialects.PUBLISH)
    assert isinstance(parsed, UsualPublish)
    model = Publish(op="publish", channel=parsed.channel, data=parsed.data, id=parsed.id)
    assert benchmark(ways[way]) == (parsed if way == "orjson, then checked" else model)


@pytest.mark.parametrize(
    ("scenario", "answers"), [(dialects.publish, 16), (dialects.come_and_go, 32)], ids=["publish", "come and go"]
)
def test_answer(
    benchmark: BenchmarkFixture, scenario: Callable[[], AbstractContextManager[Step]], answers: int
) -> None:
    """Guards the way from a message of the JSON dialect to its answer: one parse, one answer, no task."""
    benchmark.group = f"{answers} answers"
    with scenario() as step:
        assert benchmark(step) == answers

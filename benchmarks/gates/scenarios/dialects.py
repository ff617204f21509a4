"""The JSON dialect: a message of a client, from its text to its answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import TakesAll, stage
from fanwise.core.dialect import JSON
from fanwise.core.publication import Kind
from fanwise.routes.json_session import JsonSession

from . import Scenario, Step

PUBLISH = b'{"op":"publish","channel":"lobby","data":{"text":"' + b"x" * 128 + b'"},"id":"a1"}'
SUBSCRIBE = b'{"op":"subscribe","channel":"news"}'
UNSUBSCRIBE = b'{"op":"unsubscribe","channel":"news"}'


@contextmanager
def conversation(messages: list[bytes], *, rounds: int) -> Iterator[Step]:
    """A client's messages, parsed, done and answered; the step returns the number of answers."""
    with stage() as place:
        sink = TakesAll()
        client = place.enter(sink, channel=None, dialect=JSON)
        session = JsonSession(place.broadcaster, client, max_subscriptions=100, may_publish=True)

        async def answer_all() -> None:
            for message in messages:
                waits = session.work(Kind.TEXT, message)
                if waits is not None:
                    await waits

        def step() -> int:
            before = sink.writes
            for _ in range(rounds):
                place.loop.run_until_complete(answer_all())
            return sink.writes - before

        yield step


@contextmanager
def publish() -> Iterator[Step]:
    """16 publications over the JSON dialect: one parse, one answer each."""
    with conversation([PUBLISH] * 16, rounds=1) as step:
        yield step


@contextmanager
def come_and_go() -> Iterator[Step]:
    """A channel subscribed to and left again, 16 times: one parse, one answer each."""
    with conversation([SUBSCRIBE, UNSUBSCRIBE], rounds=16) as step:
        yield step


SCENARIOS = (
    Scenario("json-publish", publish, does=16),
    Scenario("json-subscribe", come_and_go, does=32),
)

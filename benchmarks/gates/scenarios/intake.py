"""From the socket to the endpoint, or to the log: the protocol class on literal bytes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

from benchmarks.harness import Stage, TakesAll, devnull, stage
from benchmarks.wire import Wire, masked, wire
from fanwise.broadcaster.sink import Offer
from fanwise.routes.websocket import PlainSession

from . import Scenario, Step

ONE = masked(b"x" * 128)
PUBLISHED = 16
WHOLE = masked(b"x" * 128) * 64
FRAGMENTED = (masked(b"x" * 64, 0x01) + masked(b"x" * 64, 0x80)) * 16


@contextmanager
def whole_messages() -> Iterator[Step]:
    """64 messages in one read: cut and unmasked without the library's parser, handed over without a task switch."""
    with wire() as connection:

        def step() -> int:
            connection.feed(WHOLE)
            return sum([len(data) for _, data in connection.read()])

        yield step


@contextmanager
def in_pieces() -> Iterator[Step]:
    """The same in reads of 1,000 bytes, most of which end inside a frame."""
    pieces = [WHOLE[at : at + 1000] for at in range(0, len(WHOLE), 1000)]
    with wire() as connection:

        def step() -> int:
            for piece in pieces:
                connection.feed(piece)
            return sum([len(data) for _, data in connection.read()])

        yield step


@contextmanager
def fragmented() -> Iterator[Step]:
    """16 messages of two small fragments: taken in without the library's parser."""
    with wire() as connection:

        def step() -> int:
            connection.feed(FRAGMENTED)
            return sum([len(data) for _, data in connection.read()])

        yield step


Endpoint: TypeAlias = Callable[[Offer], Coroutine[Any, Any, None]]


def _callback(place: Stage) -> Endpoint:
    async def serve(offer: Offer) -> None:
        assert offer.connection is not None
        client = place.broadcaster.add_client(offer.connection)
        session = PlainSession(
            place.broadcaster, client, channel="lobby", before=b"Message: ", after=b"", may_publish=True
        )
        offer.detach(session.work, failed=partial(place.broadcaster.client_failed, client))

    return serve


def _task(place: Stage) -> Endpoint:
    async def serve(offer: Offer) -> None:
        assert offer.connection is not None
        async with place.broadcaster.client(offer.connection, offer.listen) as client:
            async for kind, data in client.received():
                await place.broadcaster.append("lobby", kind, b"Message: " + data)

    return serve


@contextmanager
def publishing(endpoint: Callable[[Stage], Endpoint]) -> Iterator[Step]:
    """Reads of one message each, published to one ready client; the step returns the number of deliveries."""
    with devnull(1) as descriptors, stage() as place:
        place.enter(TakesAll(descriptors[0]))
        channel = place.broadcaster._hub.channel("lobby", time=0.0)
        connection = Wire(place.loop, endpoint=endpoint(place))

        def step() -> int:
            before = channel.deliveries
            for _ in range(PUBLISHED):
                place.loop.call_soon(connection.feed, ONE)
                place.loop.turn()
                place.sweep(channel)
            return channel.deliveries - before

        try:
            yield step
        finally:
            connection.close()


@contextmanager
def published_by_callback() -> Iterator[Step]:
    """16 reads of one message, published where they come in: no task, no inbox, no turn between socket and log."""
    with publishing(_callback) as step:
        yield step


@contextmanager
def published_at_once() -> Iterator[Step]:
    """64 messages in one read, published together to one ready client; the step returns the number of deliveries."""
    with devnull(1) as descriptors, stage() as place:
        place.enter(TakesAll(descriptors[0]))
        channel = place.broadcaster._hub.channel("lobby", time=0.0)
        connection = Wire(place.loop, endpoint=_callback(place))

        def step() -> int:
            before = channel.deliveries
            place.loop.call_soon(connection.feed, WHOLE)
            place.loop.turn()
            place.sweep(channel)
            return channel.deliveries - before

        try:
            yield step
        finally:
            connection.close()


@contextmanager
def published_by_task() -> Iterator[Step]:
    """The twin: an endpoint with a task reads the messages from an inbox and publishes them."""
    with publishing(_task) as step:
        yield step


SCENARIOS = (
    Scenario("intake-to-log", published_by_callback, does=PUBLISHED),
    Scenario("intake-to-log-by-task", published_by_task, does=PUBLISHED),
    Scenario("intake-at-once-to-log", published_at_once, does=64),
    Scenario("intake", whole_messages, does=64 * 128),
    Scenario("intake-in-pieces", in_pieces, does=64 * 128),
    Scenario("intake-fragments", fragmented, does=16 * 128),
)

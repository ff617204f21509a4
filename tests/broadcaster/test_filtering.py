"""Clients with filters on a node: each gets all that its filter lets through, in order, whatever its socket does."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from fanwise.broadcaster.client import Client, State
from fanwise.broadcaster.node import Node
from fanwise.core.dialect import JSON
from fanwise.core.reasons import CloseReason
from fanwise.errors import BeginningError, FilterLimitError
from fanwise.transport.inbox import Inbox

from ..support.fakes import AwaitedSink, FakeSink
from ..support.live import until
from .test_counting import got

pytestmark = pytest.mark.anyio


def inbox() -> Inbox:
    return Inbox(pause=lambda: None, resume=lambda: None)


@pytest.mark.parametrize("seed", range(4))
async def test_each_gets_what_its_filter_lets_through(seed: int) -> None:
    """Ready or behind, over a direct sink or plain ASGI, and beside clients without a filter; counted as given."""
    rng = random.Random(seed)
    symbols = ["a", "b", "c", None]
    async with Node(queue_messages=5000, cohort_clients=3, slice_bytes=100, stall_seconds=60) as node:
        clients: list[tuple[Client, FakeSink | AwaitedSink, str | None, list[str]]] = []
        for number in range(12):
            sink = AwaitedSink() if number % 4 == 3 else FakeSink()
            client = node.add_client(sink, inbox)
            symbol = symbols[number % 3] if number < 9 else None
            node.subscribe(client, "c", filter=None if symbol is None else {"s": symbol})
            clients.append((client, sink, symbol, []))
        for number in range(400):
            symbol = rng.choice(symbols)
            await node.publish("c", f"{number:03}", tags=None if symbol is None else {"s": symbol})
            for _, sink, wanted, expected in clients:
                if wanted in (None, symbol):
                    expected.append(f"{number:03}")
                if isinstance(sink, FakeSink) and rng.random() < 0.02:
                    sink.pause() if sink.writable else sink.resume()
        for _, sink, _, _ in clients:
            sink.gate.set() if isinstance(sink, AwaitedSink) else sink.resume()
        await until(lambda: all(client.lag == 0 and client.state is State.READY for client, *_ in clients))
        for _, sink, _, expected in clients:
            if isinstance(sink, AwaitedSink):
                assert [message.decode() for message in sink.sent] == expected
            else:
                frames = b"".join(sink.written)
                assert [frames[at + 2 : at + 5].decode() for at in range(0, len(frames), 5)] == expected
        assert node.tally.deliveries == sum(len(expected) for *_, expected in clients)
        assert not sum(node.tally.dropped.values())


async def test_a_client_that_wants_nothing_of_it_stays_up_to_date() -> None:
    """Its cursor moves without a write: whatever is published, it holds nothing back and is not slow."""
    async with Node(queue_messages=10, history_messages=10, stall_seconds=0.5) as node:
        sink, awaited = FakeSink(), AwaitedSink()
        for each in (sink, awaited):
            node.subscribe(node.add_client(each, inbox), "c", filter={"s": "never"})
        await asyncio.sleep(0)
        for _ in range(500):
            await node.publish("c", "x", tags={"s": "a"})
        await asyncio.sleep(0)
        channel = node._hub.find("c")
        assert channel is not None
        assert [queue.qsize() for queue in channel.queues] == [0, 0]
        assert (b"".join(sink.written), awaited.sent) == (b"", [])
        assert channel.log.first > 300  # nothing is retained for them
        assert all(group.wave(cohort, at_most=9) for group in channel.groups.values() for cohort in group)
        assert {cohort.cursor for group in channel.groups.values() for cohort in group} == {500}
        assert len(node) == 2


async def test_a_slow_client_is_judged_by_what_it_wants() -> None:
    """Ten thousand others do not make it slow; a queue's worth of its own does, as without a filter."""
    async with Node(queue_messages=10, history_messages=20_000, stall_seconds=60) as node:
        sink = FakeSink()
        client = node.add_client(sink, inbox, dialect=JSON)
        node.subscribe(client, "c", filter={"s": "a"})
        await asyncio.sleep(0)
        sink.pause()
        for number in range(10_000):
            await node.publish("c", "x", tags={"s": "a" if number % 2000 == 0 else "b"})
        for _ in range(2):
            await node._publisher.audited()
        assert (client.reason, client.lag) == (None, 5)
        for _ in range(6):
            await node.publish("c", "x", tags={"s": "a"})
        await until(lambda: client.reason is CloseReason.SLOW)


async def test_where_a_stream_begins_is_said_once() -> None:
    """After a position or before the head, and not both; refused before the client is anywhere."""
    async with Node() as node:
        position = (await node.publish("c", "x")).position
        client = node.add_client(FakeSink(), inbox)
        wrongs: list[dict[str, Any]] = [
            {"since": position, "last": 1},
            {"last": -1},
            {"last": True},
            {"last": "1"},
            {"last": 10**10},
        ]
        for wrong in wrongs:
            with pytest.raises(BeginningError):
                node.subscribe(client, "c", **wrong)
        assert not client.subscriptions
        assert node.subscribe(client, "c", last=0).position == position


async def test_strangers_with_new_filters_cost_little() -> None:
    """A hundred of a channel are taken, and the rest refused; each that leaves makes room."""
    async with Node(max_clients=1000) as node:
        clients = [node.add_client(FakeSink(), inbox) for _ in range(101)]
        for number, client in enumerate(clients[:100]):
            node.subscribe(client, "c", filter={"user": str(number)})
        began = time.process_time()
        for number in range(1000):
            with pytest.raises(FilterLimitError):
                node.subscribe(clients[100], "c", filter={"user": f"other {number}"})
        assert time.process_time() - began < 2
        clients[0].abort(CloseReason.OPERATOR)
        node.subscribe(clients[100], "c", filter={"user": "new"})
        await node.publish("c", "for one", tags={"user": "new"})
        await until(lambda: node.tally.deliveries == 1)
        assert isinstance(clients[100].sink, FakeSink)
        assert got(clients[100].sink) == 1

from __future__ import annotations

import asyncio

import orjson
import pytest
from pydantic import BaseModel

from fanwise.broadcaster.node import Node
from fanwise.core.codes import ErrorCode
from fanwise.core.forgiven import hidden_bytes
from fanwise.core.reasons import CloseReason, GapReason
from fanwise.routes.stats import Lists, Stats, StatsCollector, Summary, Totals

from ..broadcaster.test_node import joined
from ..support.live import until

pytestmark = pytest.mark.anyio


async def test_the_report_is_what_its_model_says() -> None:
    """Nothing missing and nothing more, also with a client that is behind, a channel and a farewell."""
    async with Node() as broadcaster:
        async with joined(broadcaster):
            pass
        async with joined(broadcaster) as (client, sink):
            await until(lambda: broadcaster.statistics().channels[0].ready == 1)
            sink.pause(buffered_bytes=7)
            await broadcaster.publish("lobby", "1234")
            told = orjson.loads(orjson.dumps(await StatsCollector(broadcaster).stats()))
            assert Stats.model_validate(told, strict=True).model_dump(mode="json") == told
            (slow,) = told["clients"]
            assert (slow["id"], slow["lag"], slow["lag_bytes"], slow["buffered_bytes"]) == (client.id, 1, 4, 7)
            assert (slow["path"], slow["subscriptions"], slow["rtt_seconds"]) == ("transport", 1, None)
            assert told["now"] | {"clients": 1, "behind": 1, "channels": 1} == told["now"]
            counted = {"connections": 2, "publications": 1}
            assert told["totals"] == dict.fromkeys(Totals.model_fields, 0) | counted
            assert told["channels"][0]["head"] == 1
            hidden = hidden_bytes(6) / 6
            pause = {"seconds": 10 + hidden, "bound": "stall_seconds", "hidden_seconds": hidden}
            assert told["channels"][0]["forgiven"] == pause
            assert told["forgiven"] == {
                **pause,
                "channel": "lobby",
                "limit": {"messages": 1024, "bound": "queue_messages"},
            }
            assert told["closed_clients"][0]["reason"] == "normal"
            assert told["limits"]["queue_messages"] == 1024
            assert told["server"]["loop"] in str(type(asyncio.get_running_loop()))


async def test_the_feed_is_the_report_in_two_parts() -> None:
    """The summary and the lists have models of their own."""
    async with Node() as broadcaster:
        collector = StatsCollector(broadcaster)
        models: list[tuple[type[BaseModel], object]] = [
            (Summary, collector.summary()),
            (Lists, await collector.lists()),
        ]
        for model, told in models:
            received = orjson.loads(orjson.dumps(told))
            assert model.model_validate(received, strict=True).model_dump(mode="json") == received


async def test_all_that_can_be_counted_is_there_from_the_start() -> None:
    """Nobody has to guess whether what is missing is zero."""
    async with Node() as broadcaster:
        told = StatsCollector(broadcaster).summary()
        assert set(told["closed"]) == {reason.name.lower() for reason in CloseReason}
        assert set(told["gaps"]) == {reason.value for reason in GapReason}
        assert set(told["rejected"]) == {code.value for code in ErrorCode}


async def test_a_client_on_many_channels_is_told_in_short() -> None:
    """Eight of its channels, and how many there are: the size of a report is bounded."""
    async with Node() as broadcaster, joined(broadcaster) as (client, _):
        for number in range(20):
            broadcaster.subscribe(client, f"c{number}")
        (listed,) = (await StatsCollector(broadcaster).lists())["clients"]
        assert (len(listed["channels"]), listed["subscriptions"]) == (8, 21)


async def test_the_lists_are_made_once_for_all_who_ask() -> None:
    """At the same time, and for half a second: asking often costs nothing."""
    async with Node() as broadcaster:
        collector = StatsCollector(broadcaster)
        one, other = await asyncio.gather(collector.lists(), collector.lists())
        assert one is other is await collector.lists()
        collector._listed_at -= 1
        assert await collector.lists() is not one


def test_a_report_is_bound_to_no_event_loop() -> None:
    """An application that is started again, on another loop, is reported on again."""
    broadcaster = Node()
    collector = StatsCollector(broadcaster)

    async def ask() -> None:
        async with broadcaster:
            collector._listed_at -= 1
            await asyncio.gather(collector.lists(), collector.lists())

    for _ in range(2):
        asyncio.run(ask())

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk", reason="traces publications: pip install 'fanwise[otel]'")

import asyncio
from contextlib import AsyncExitStack

from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.trace import SpanKind, StatusCode

from fanwise import Broadcaster, ChannelOptions
from fanwise.backplane.memory import MemoryEngine
from fanwise.broadcaster.tracing import spans as module
from fanwise.core.publication import Kind
from fanwise.errors import BackplaneDownError

from ...support.fakes import FakeSink
from ...support.live import until
from ...support.spans import Kept, about, context_of, parent_of
from ..test_node import joined

pytestmark = pytest.mark.anyio


def test_names_are_those_of_the_conventions() -> None:
    """As the installed package has them: messaging is in development, and its names have changed before."""
    conventions = {value for name, value in vars(messaging_attributes).items() if name.startswith("MESSAGING_")}
    ours = (module.SYSTEM, module.OPERATION_NAME, module.OPERATION_TYPE, module.DESTINATION, module.TEMPLATE)
    assert {*ours, module.BODY_SIZE, module.MESSAGE_ID} <= conventions
    assert error_attributes.ERROR_TYPE == module.ERROR_TYPE
    assert messaging_attributes.MessagingOperationTypeValues.SEND.value == "send"


async def test_a_publication_is_below_the_current_span_and_its_delivery_below_that() -> None:
    """The delivery lasts from appending to the last write, and has the number of clients."""
    kept = Kept()
    tracer = kept.provider.get_tracer("an application")
    async with Broadcaster(tracing=kept.provider) as broadcaster, joined(broadcaster), joined(broadcaster):
        await until(lambda: broadcaster.statistics().channels[0].ready == 2)
        with tracer.start_as_current_span("of the application") as own:
            publication = await broadcaster.publish("lobby", "text")
        await until(lambda: "deliver lobby" in kept.names)
        broadcaster.publish_nowait("nobody/here", b"")
    publish, deliver = kept.named("publish lobby"), kept.named("deliver lobby")
    message = {"messaging.system": "fanwise", "messaging.destination.name": "lobby"}
    message["messaging.message.id"] = str(publication.position)
    sent = {"messaging.operation.name": "publish", "messaging.operation.type": "send", "messaging.message.body.size": 4}
    assert about(publish) == message | sent
    assert about(deliver) == message | {"messaging.operation.name": "deliver", "fanwise.clients": 2}
    assert (publish.kind, deliver.kind) == (SpanKind.PRODUCER, SpanKind.INTERNAL)
    assert parent_of(publish) == own.get_span_context().span_id
    assert parent_of(deliver) == context_of(publish).span_id
    assert [link.context for link in deliver.links] == [context_of(publish)]
    assert publish.start_time is not None
    assert deliver.start_time is not None
    assert deliver.end_time is not None
    assert abs(deliver.start_time - publish.start_time) < 2e9
    assert 0 < deliver.end_time - deliver.start_time < 60e9
    assert kept.named("publish nobody/here").parent is None
    assert "deliver nobody/here" not in kept.names


async def test_what_is_not_sampled_has_no_spans() -> None:
    """And is delivered all the same, from several texts of one read too."""
    kept = Kept(sampler=ALWAYS_OFF)
    async with Broadcaster(tracing=kept.provider) as broadcaster, joined(broadcaster) as (_, sink):
        await broadcaster.publish("lobby", "text")
        await until(lambda: bool(sink.written))
    assert kept.spans == []


async def test_channels_of_a_pattern_share_the_names_of_spans() -> None:
    """As many names as there are patterns; which channel it was, an attribute says."""
    kept = Kept()
    options = {"room:*": ChannelOptions()}
    async with Broadcaster(tracing=kept.provider, channels=options) as broadcaster:
        broadcaster.publish_nowait("room:1", "text")
        broadcaster.publish_nowait("room:2", "text")
    assert kept.names == ["publish room:*"] * 2
    places = [(about(span)[module.DESTINATION], about(span)[module.TEMPLATE]) for span in kept.spans]
    assert places == [("room:1", "room:*"), ("room:2", "room:*")]


async def test_recordings_go_on_beside_spans() -> None:
    """A recording that starts and ends leaves the spans of publications as they were."""
    kept = Kept()
    async with Broadcaster(tracing=kept.provider) as broadcaster, joined(broadcaster):
        for end in (True, False):
            recorder = broadcaster.recordings.start(most_bytes=100_000)
            broadcaster.publish_nowait("lobby", "text")
            if end:
                recorder.end("asked")
            assert not broadcaster.append_at_once("lobby", Kind.TEXT, [b"one", b"two"])
        assert kept.names.count("publish lobby") == 2


async def test_a_span_lasts_until_the_engine_has_the_publication() -> None:
    """Behind a backplane; one that the engine does not take is an error."""
    kept = Kept()
    engine = MemoryEngine()
    async with Broadcaster(backplane=engine.backplane(), tracing=kept.provider) as broadcaster:
        publication = await broadcaster.publish("lobby", "text")
        engine.stall()
        waiting = broadcaster.submit("other", "text")
        await asyncio.sleep(0)
        assert kept.names == ["publish lobby"]
    with pytest.raises(BackplaneDownError):
        await waiting
    await until(lambda: len(kept.spans) == 2)
    assert about(kept.named("publish lobby"))["messaging.message.id"] == str(publication.position)
    failed = kept.named("publish other")
    assert (failed.status.status_code, about(failed)["error.type"]) == (StatusCode.ERROR, "BackplaneDownError")


async def test_each_server_behind_an_engine_makes_a_delivery() -> None:
    """Below the publication of whichever server, with the clients that are there; one without tracing makes none."""
    engine, one, two = MemoryEngine(), Kept(), Kept()
    servers = [
        Broadcaster(backplane=engine.backplane(), trim_heap=False, tracing=tracing)
        for tracing in (one.provider, two.provider, False)
    ]
    async with AsyncExitStack() as stack:
        sinks = [FakeSink() for _ in range(4)]
        for server in servers:
            await stack.enter_async_context(server)
        for sink, server in zip(sinks, (*servers, servers[1]), strict=True):
            await server.subscribe_in_turn(server.add_client(sink), "lobby")
        await until(lambda: sum(server.statistics().channels[0].ready for server in servers) == 4)
        position = (await servers[0].publish("lobby", "text")).position
        await until(lambda: all(sink.said == ["text"] for sink in sinks))
        await until(lambda: "deliver lobby" in one.names and "deliver lobby" in two.names)
    publish = context_of(one.named("publish lobby"))
    assert two.names == ["deliver lobby"]
    for kept, clients in ((one, 1), (two, 2)):
        deliver = kept.named("deliver lobby")
        assert (parent_of(deliver), context_of(deliver).trace_id) == (publish.span_id, publish.trace_id)
        assert [link.context.span_id for link in deliver.links] == [publish.span_id]
        assert (about(deliver)["fanwise.clients"], about(deliver)["messaging.message.id"]) == (clients, str(position))


async def test_what_is_not_sampled_is_not_named_to_the_engine() -> None:
    """Other servers make no delivery of it."""
    engine, kept = MemoryEngine(), Kept()
    quiet = Kept(sampler=ALWAYS_OFF)
    async with (
        Broadcaster(backplane=engine.backplane(), trim_heap=False, tracing=quiet.provider) as one,
        Broadcaster(backplane=engine.backplane(), trim_heap=False, tracing=kept.provider) as two,
    ):
        sink = FakeSink()
        await two.subscribe_in_turn(two.add_client(sink), "lobby")
        await one.publish("lobby", "text")
        await until(lambda: sink.said == ["text"])
    assert (quiet.spans, kept.spans) == ([], [])

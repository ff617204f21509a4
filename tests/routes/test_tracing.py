"""Spans of a real server, below those that requests and messages name."""

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk", reason="traces publications: pip install 'fanwise[otel]'")

import asyncio
import json

from opentelemetry.semconv.attributes import http_attributes, url_attributes
from opentelemetry.trace import SpanKind, StatusCode

from fanwise import Broadcaster
from fanwise.backplane.memory import MemoryEngine
from fanwise.client import FanwiseClient, SyncClient
from fanwise.client.errors import PublishError
from fanwise.routes import tracing as module

from ..support.live import app_of, running, until
from ..support.spans import Kept, about, context_of, parent_of
from .test_json_session import serving
from .test_trace_context import PARENT

pytestmark = pytest.mark.anyio

TRACE, SPAN = (int(part, 16) for part in PARENT.split("-")[1:3])
TEXT = {"Content-Type": "text/plain", "traceparent": PARENT}


def test_names_are_those_of_the_conventions() -> None:
    """Those of HTTP are stable."""
    http, url = vars(http_attributes), vars(url_attributes)
    found = [http["HTTP_REQUEST_METHOD"], http["HTTP_ROUTE"], http["HTTP_RESPONSE_STATUS_CODE"]]
    assert found == [module.METHOD, module.ROUTE, module.STATUS]
    assert [url["URL_PATH"], url["URL_SCHEME"]] == [module.PATH, module.SCHEME]


async def test_a_request_goes_on_with_the_trace_that_its_headers_name() -> None:
    """From the request over the publication to the write to the client, in one trace."""
    kept = Kept()
    async with serving(Broadcaster(tracing=kept.provider)) as live, await live.connect("/ws?channel=a/b") as client:
        answer = await live.request("POST", "/publish/a/b", b"hello", headers=TEXT)
        assert await client.recv() == "hello"
        await until(lambda: len(kept.spans) == 3)
    request, publish = kept.named("POST /publish/{channel}"), kept.named("publish a/b")
    deliver = kept.named("deliver a/b")
    assert {context_of(span).trace_id for span in kept.spans} == {TRACE}
    parents = [parent_of(span) for span in (request, publish, deliver)]
    assert parents == [SPAN, context_of(request).span_id, context_of(publish).span_id]
    assert about(request) == {
        "http.request.method": "POST",
        "http.route": "/publish/{channel}",
        "url.path": "/publish/a/b",
        "url.scheme": "http",
        "http.response.status_code": 200,
    }
    assert request.kind is SpanKind.SERVER
    assert about(publish)["messaging.message.id"] == f"{answer.json['epoch']}:1"
    assert about(deliver)["fanwise.clients"] == 1


async def test_a_batch_is_one_request_and_a_refusal_is_no_error() -> None:
    """Each entry has its publication; a refused request says with what."""
    kept = Kept()
    batch = json.dumps([{"channel": "a", "data": 1}, {"channel": "no good", "data": 2}, {"channel": "b", "data": 3}])
    async with serving(Broadcaster(tracing=kept.provider)) as live:
        headers = {"Content-Type": "application/json"}
        assert (await live.request("POST", "/publish", batch.encode(), headers=headers)).status == 200
        assert kept.names == ["publish a", "publish b", "POST /publish"]
        assert (await live.request("POST", "/publish/a", b"{", headers=headers)).code == "bad_json"
    refused = kept.named("POST /publish/{channel}")
    assert (about(refused)[module.STATUS], about(refused)["error.type"]) == (400, "bad_json")
    assert refused.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("shares", [False, True])
async def test_a_message_of_the_json_dialect_names_its_span(shares: bool) -> None:
    """Alone or behind a backplane; without one a publication begins a trace of its own. A wrong one is refused."""
    kept = Kept()
    backplane = MemoryEngine().backplane() if shares else None
    broadcaster = Broadcaster(tracing=kept.provider, backplane=backplane)
    async with running(app_of(broadcaster.router)) as live, await live.talk() as talk:
        told = await talk.ask(op="publish", channel="a", data=1, traceparent=PARENT)
        assert (told["op"], (await talk.ask(op="publish", channel="b", data=1))["op"]) == ("published", "published")
        wrong = await talk.ask(op="publish", channel="c", data=1, traceparent="00-1-2-3", id=7)
        assert (wrong["code"], wrong["id"]) == ("wrong_type", 7)
        await until(lambda: len(kept.spans) == 2)
    first, second = kept.named("publish a"), kept.named("publish b")
    assert (context_of(first).trace_id, parent_of(first)) == (TRACE, SPAN)
    assert (context_of(second).trace_id == TRACE, parent_of(second)) == (False, 0)


async def test_without_tracing_a_named_span_is_passed_over() -> None:
    """Clients may send it to any server."""
    async with serving(Broadcaster()) as live, await live.talk() as talk:
        assert (await talk.ask(op="publish", channel="a", data=1, traceparent=PARENT))["op"] == "published"
        assert (await live.request("POST", "/publish/a", b"x", headers=TEXT)).status == 200


async def test_the_application_s_own_span_of_a_request_is_taken() -> None:
    """Where its framework is traced there is a span of the request already."""
    kept = Kept()
    broadcaster = Broadcaster(tracing=kept.provider)
    app = app_of(broadcaster.router)
    tracer = kept.provider.get_tracer("an application")

    @app.middleware("http")
    async def traced(request: object, call_next: object) -> object:
        with tracer.start_as_current_span("of the framework"):
            return await call_next(request)  # type: ignore[operator]

    async with running(app) as live:
        assert (await live.request("POST", "/publish/a", b"x", headers=TEXT)).status == 200
    assert kept.names == ["publish a", "of the framework"]
    assert parent_of(kept.named("publish a")) == context_of(kept.named("of the framework")).span_id


async def test_publications_of_the_python_clients_name_their_spans() -> None:
    """Single ones and many, of the asynchronous client and of the synchronous one."""
    kept = Kept()
    async with serving(Broadcaster(tracing=kept.provider)) as live:
        url = f"ws://127.0.0.1:{live.port}/ws"
        async with FanwiseClient(url, proxy=None) as client:
            await client.publish("a", 1, traceparent=PARENT)
            await client.publish_many("b", [1, 2], traceparent=PARENT)
            with pytest.raises(PublishError, match="traceparent"):
                await client.publish("e", 1, traceparent="00-1")

        def publish() -> None:
            with SyncClient(url, proxy=None) as sync:
                sync.publish("c", 1, traceparent=PARENT)
                sync.publish_many("d", [1, 2], traceparent=PARENT)

        await asyncio.to_thread(publish)
        await until(lambda: len(kept.spans) == 6)
    assert kept.names == [f"publish {channel}" for channel in "abbcdd"]
    assert {(context_of(span).trace_id, parent_of(span)) for span in kept.spans} == {(TRACE, SPAN)}

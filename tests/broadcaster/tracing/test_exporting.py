from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk", reason="traces publications: pip install 'fanwise[otel]'")

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, Self

from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from fanwise import SettingsError
from fanwise.app import create_app
from fanwise.broadcaster.tracing import exporting as module
from fanwise.settings import load_settings

from ...support.spans import Kept

pytestmark = pytest.mark.anyio


class Collector(HTTPServer):
    """Takes spans over OTLP/HTTP on loopback, as a collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[ExportTraceServiceRequest] = []

    def __enter__(self) -> Self:
        self.thread = Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Collector)
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


async def test_a_server_exports_to_where_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under its own name unless they say another one; what is left at the end, too."""
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        app = create_app(load_settings(otel=True))
        async with app.router.lifespan_context(app):
            await app.state.broadcaster.publish("lobby", "text")
    (resource,) = collector.requests[0].resource_spans
    told = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert (told["service.name"], told["deployment.environment.name"]) == ("fanwise", "test")
    assert [span.name for spans in resource.scope_spans for span in spans.spans] == ["publish lobby"]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "there is no exporter 'zipkin'; installed are .*console.*otlp_proto_http"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon", "takes http/protobuf or grpc"),
    ],
)
def test_what_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str) -> None:
    """With what there is."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=problem):
        module.open_provider()


async def test_the_provider_of_the_process_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `opentelemetry-instrument` there is one: it is used, and left as it is at the end."""
    kept = Kept()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", kept.provider)
    app = create_app(load_settings(otel=True))
    for number in (1, 2):
        async with app.router.lifespan_context(app):
            await app.state.broadcaster.publish("lobby", "text")
        assert kept.names == ["publish lobby"] * number


async def test_no_exporter_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`none`: spans are made, and go nowhere. The lifespan ends as it does without."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    provider = module.open_provider()
    assert provider is not None
    said = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        said.append(app)
        yield

    async with module.exported(provider, lifespan)("the application"):
        assert said == ["the application"]

"""A tracer provider for `fanwise serve`: the SDK of OpenTelemetry, set up by its OTEL_* variables."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import entry_points
from typing import Any, Final, TypeAlias

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ...errors import SettingsError
from ...version import SERVER_VERSION

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]
_EXPORTERS: Final = "opentelemetry_traces_exporter"  # the group of entry points in which exporters are found
_OTLP: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


def open_provider() -> TracerProvider | None:
    """Returns a provider that exports to where the OTEL_* variables say; None: the process has a global one already.

    Samplers, limits, batches, resource and exporters are read from the environment by the SDK.

    Raises:
        SettingsError: There is no such exporter, or it cannot be set up.
    """
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    resource = Resource.create()
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "fanwise", "service.version": SERVER_VERSION}))
    exporters = [_exporter(name) for name in _names()]
    provider = TracerProvider(resource=resource)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def exported(provider: TracerProvider, lifespan: Lifespan) -> Lifespan:
    """Returns a lifespan at whose end the spans that are left are exported, in a thread."""

    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[None]:
        try:
            async with lifespan(app):
                yield
        finally:
            await asyncio.to_thread(provider.shutdown)

    return run


def _names() -> list[str]:
    """Returns the names of the exporters that are wanted."""
    wanted = [name.strip() for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(",")]
    return [name for name in wanted if name and name != "none"]


def _exporter(name: str) -> Any:
    if name == "otlp":
        variables = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
        protocol = next(filter(None, map(os.environ.get, variables)), "http/protobuf")
        if protocol not in _OTLP:
            raise SettingsError([f"{variables[0]} is {protocol!r}; it takes http/protobuf or grpc"])
        name = _OTLP[protocol]
    found = {entry.name: entry for entry in entry_points(group=_EXPORTERS)}
    if name not in found:
        installed = ", ".join(sorted(found)) or "none"
        raise SettingsError([f"OTEL_TRACES_EXPORTER: there is no exporter {name!r}; installed are {installed}"])
    try:
        return found[name].load()()
    except (ImportError, ValueError) as error:
        raise SettingsError([f"OTEL_TRACES_EXPORTER: {name} cannot be set up: {error}"]) from error

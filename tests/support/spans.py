"""Spans of a server in this process, kept in memory."""

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk", reason="traces publications: pip install 'fanwise[otel]'")

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext


class Kept:
    """A tracer provider that keeps its spans. Takes what a `TracerProvider` takes."""

    def __init__(self, **about: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **about)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended, in the order in which they did."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> ReadableSpan:
        """The only span of that name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]


def context_of(span: ReadableSpan) -> SpanContext:
    context: SpanContext | None = span.context
    assert context is not None
    return context


def parent_of(span: ReadableSpan) -> int:
    """The id of the span above; 0 for none."""
    return 0 if span.parent is None else span.parent.span_id


def about(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})

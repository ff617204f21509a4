"""The span of a publication, and the span of its delivery, as the semantic conventions of messaging have them.

https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_tracer_provider,
    set_span_in_context,
)

from ...backplane.port import Outgoing
from ...core.channel import Channel
from ...core.publication import Position, Publication
from ...errors import FanwiseError
from ...version import SERVER_VERSION
from ..sweep import Sweeper
from .deliveries import Deliveries, Delivery, WatchedSweeper

# Messaging is in development in the conventions, and modules of the package with such names come and go: the names are
# written out here. `tests/broadcaster/tracing/test_spans.py` compares them with the package that is installed.
SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
TEMPLATE: Final = "messaging.destination.template"
BODY_SIZE: Final = "messaging.message.body.size"
MESSAGE_ID: Final = "messaging.message.id"
ERROR_TYPE: Final = "error.type"
CLIENTS: Final = "fanwise.clients"

Publish = Callable[..., Publication]
Submit = Callable[[Outgoing], asyncio.Future[Position]]


class Spans:
    """Makes spans of publications, below the span that is current where they are published.

    Args:
        provider: The tracer provider; None: the global one.

    Attributes:
        tracer: Makes the spans.
    """

    def __init__(self, provider: Any = None) -> None:
        self.tracer: Any = (provider or get_tracer_provider()).get_tracer("fanwise", SERVER_VERSION)
        self._deliveries = Deliveries()

    def sweeper(self, loop: asyncio.AbstractEventLoop, **about: Any) -> Sweeper:
        """Returns a sweeper that ends the spans of deliveries."""
        return WatchedSweeper(loop, deliveries=self._deliveries, **about)

    def around(self, publish: Publish) -> Publish:
        """Returns `Hub.publish` with a span around it. A sampled publication has a span of its delivery, too."""

        def publish_in_span(place: Channel, data: bytes, *about: Any) -> Publication:
            span = self._start(place.name, place.namespace.pattern, len(data))
            try:
                publication = publish(place, data, *about)
                if span.is_recording():
                    span.set_attribute(MESSAGE_ID, str(publication.position))
            finally:
                span.end()
            context = span.get_span_context()
            if context.trace_flags.sampled:
                self._watch(place, publication.offset, publication.time, context)
            return publication

        return publish_in_span

    def through(self, submit: Submit, pattern: Callable[[str], str | None]) -> Submit:
        """Returns `Backplane.publish` with a span that lasts until the engine has the publication.

        Args:
            submit: The method.
            pattern: Returns the pattern whose options a channel has, by its name; None for none.
        """

        def submit_in_span(outgoing: Outgoing) -> asyncio.Future[Position]:
            span = self._start(outgoing.channel, pattern(outgoing.channel), len(outgoing.payload))
            context = span.get_span_context()
            named = f"{context.trace_id:032x}-{context.span_id:016x}" if context.trace_flags.sampled else None
            future = submit(outgoing._replace(span=named))
            future.add_done_callback(partial(_acknowledged, span))
            return future

        return submit_in_span

    def arrived(self, place: Channel, position: Position, time: float, span: str) -> None:
        """Hears that a sampled publication has come from the engine, and has its place in the log of `place`.

        Args:
            place: Its channel.
            position: Its place there.
            time: When it came, on the monotonic clock.
            span: Its span, as `Outgoing` names it, of this server or of another one.
        """
        trace_id, _, span_id = span.partition("-")
        sampled = TraceFlags(TraceFlags.SAMPLED)
        context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=sampled)
        self._watch(place, position.offset, time, context)

    def _watch(self, place: Channel, offset: int, time: float, publication: SpanContext) -> None:
        if place.queues:
            self._deliveries.watch(place, Delivery(offset, partial(self._delivered, place, time, publication)))

    def _start(self, channel: str, pattern: str | None, size_bytes: int) -> Span:
        attributes = {**_named("publish", channel, pattern), OPERATION_TYPE: "send", BODY_SIZE: size_bytes}
        span: Span = self.tracer.start_span(
            f"publish {pattern or channel}", kind=SpanKind.PRODUCER, attributes=attributes
        )
        return span

    def _delivered(self, place: Channel, appended: float, publication: SpanContext, delivery: Delivery) -> None:
        now, wall_ns = time.monotonic(), time.time_ns()
        pattern = place.namespace.pattern
        span = self.tracer.start_span(
            f"deliver {pattern or place.name}",
            _below(publication),
            kind=SpanKind.INTERNAL,
            attributes={
                **_named("deliver", place.name, pattern),
                MESSAGE_ID: f"{place.log.epoch}:{delivery.offset}",
                CLIENTS: delivery.clients,
            },
            links=[Link(publication)],
            start_time=wall_ns - int((now - appended) * 1e9),
        )
        span.end(wall_ns - int((now - (delivery.written or now)) * 1e9))


def _named(operation: str, channel: str, pattern: str | None) -> Mapping[str, str]:
    named = {SYSTEM: "fanwise", OPERATION_NAME: operation, DESTINATION: channel}
    return named if pattern is None else {**named, TEMPLATE: pattern}


def _below(publication: SpanContext) -> Context:
    """Returns a context in which a span is of the publication's trace, and sampled as that is."""
    return set_span_in_context(NonRecordingSpan(publication), Context())


def _acknowledged(span: Span, future: asyncio.Future[Position]) -> None:
    if not future.cancelled():
        error = future.exception()
        if error is None:
            span.set_attribute(MESSAGE_ID, str(future.result()))
        else:
            span.set_attribute(ERROR_TYPE, type(error).__name__)
            span.set_status(Status(StatusCode.ERROR, str(error) if isinstance(error, FanwiseError) else None))
    span.end()

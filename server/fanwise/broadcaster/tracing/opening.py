"""Spans for an application's tracer provider. OpenTelemetry is imported only where there is to be tracing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ...errors import SettingsError

if TYPE_CHECKING:
    from .spans import Spans

NEEDED = "tracing needs OpenTelemetry: install fanwise[otel]"


class ProvidesTracers(Protocol):
    """A tracer provider of OpenTelemetry."""

    def get_tracer(self, name: str, version: str | None = None, /) -> Any:
        """Returns the tracer of a library."""


Tracing: TypeAlias = "bool | ProvidesTracers"
"""False: no tracing. True: by the global tracer provider. Else: by this one."""


def open_spans(tracing: Tracing) -> Spans | None:
    """Returns what makes spans of publications; None: nothing does.

    Raises:
        SettingsError: OpenTelemetry is not installed.
    """
    if tracing is False:
        return None
    try:
        from .spans import Spans  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError([NEEDED]) from error
    return Spans(None if tracing is True else tracing)

"""The trace context that messages of the JSON dialect carry (W3C Trace Context)."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from pydantic import Field

TRACE_PARENT_CHARACTERS: Final = 55

TraceParent: TypeAlias = Annotated[
    str,
    Field(
        description="the span that the publication belongs to, as in the HTTP header `traceparent`; for servers that "
        "trace",
        pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        max_length=TRACE_PARENT_CHARACTERS,
        examples=["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    ),
]

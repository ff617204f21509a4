"""Dialects: what a client is told, and in which words. A client knows its dialect, never the route it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import orjson

from .encoding import (
    chunk,
    event,
    json_frame,
    json_message,
    plain_frame,
    plain_payload,
    sse_chunk,
    sse_event,
    sse_json_chunk,
    sse_json_event,
    text_frame,
)
from .publication import Encoding, Position
from .queue import Gap


class Dialect(NamedTuple):
    """How publications and gaps become bytes for one kind of client.

    Attributes:
        name: What it is called in statistics.
        encode: A publication's bytes on the wire.
        payload: A publication's bytes for a server that frames them itself.
        frame: The bytes on the wire of any other payload.
        gap: The payload that tells a gap of the log (channel, epoch); None where the dialect has no word for it.
        subscribed: The payload that tells where a stream begins (channel, position, and whether it is what was asked
            for with nothing missing: None when nothing was asked for).
    """

    name: str
    encode: Encoding
    payload: Encoding
    frame: Callable[[bytes], bytes]
    gap: Callable[[str, str, Gap], bytes] | None = None
    subscribed: Callable[[str, Position, bool | None], bytes] | None = None


def json_gap(channel: str, epoch: str, gap: Gap) -> bytes:
    """The `gap` of the JSON dialect: the offsets `from` to `to` of the log `epoch` will not come."""
    fields = {"from": gap.first, "to": gap.last, "reason": gap.reason.value}
    return orjson.dumps({"op": "gap", "channel": channel, "epoch": epoch, **fields})


def json_subscribed(channel: str, position: Position, recovered: bool | None) -> bytes:
    """The `subscribed` of the JSON dialect."""
    return orjson.dumps({"op": "subscribed", "channel": channel, **position._asdict(), "recovered": bool(recovered)})


def sse_gap(channel: str, epoch: str, gap: Gap) -> bytes:
    """The same as an event, whose id is where the client stands behind the gap."""
    return event(json_gap(channel, epoch, gap), name="gap", event_id=str(Position(epoch, gap.last)))


def sse_subscribed(channel: str, position: Position, recovered: bool | None) -> bytes:
    """The same as an event, whose id is the position.

    When a gap follows there is no id: a browser whose stream breaks in between still asks for what it asked for, and is
    told the gap then.
    """
    event_id = "" if recovered is False else str(position)
    return event(json_subscribed(channel, position, recovered), name="subscribed", event_id=event_id)


PLAIN: Final = Dialect("plain", plain_frame, plain_payload, text_frame)
JSON: Final = Dialect("fanwise.v1", json_frame, json_message, text_frame, json_gap, json_subscribed)
SSE: Final = Dialect("sse", sse_chunk, sse_event, chunk, sse_gap, sse_subscribed)
SSE_JSON: Final = Dialect("sse+json", sse_json_chunk, sse_json_event, chunk, sse_gap, sse_subscribed)

"""Dialects: the words that a client is sent. A client knows its dialect, never its route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import orjson

from .encoding import (
    chunk,
    event,
    json_direct,
    json_frame,
    json_message,
    plain_frame,
    plain_payload,
    sse_chunk,
    sse_direct,
    sse_event,
    sse_json_chunk,
    sse_json_direct,
    sse_json_event,
    text_frame,
)
from .publication import Encoding, Position
from .queue import Gap


class Dialect(NamedTuple):
    """Functions that make bytes of publications and gaps for one kind of client.

    Attributes:
        name: Its name in statistics.
        encode: A publication's bytes on the wire.
        payload: A publication's bytes for a server that frames them itself.
        frame: The bytes on the wire of any other payload.
        gap: Makes the payload for a gap of the log (channel, epoch); None: the dialect has no word for gaps.
        skipped: Makes the payload for a publication that an excluded client does not get (channel, position); None: the
            dialect has no word for it.
        alone: The payload of a message without a place, to one client; None: it looks like a publication.
        subscribed: Makes the payload for the beginning of a stream (channel, position, and whether nothing is missing
            after the position that was asked for: None if none was asked for). None: the dialect has no word for it.
    """

    name: str
    encode: Encoding
    payload: Encoding
    frame: Callable[[bytes], bytes]
    gap: Callable[[str, str, Gap], bytes] | None = None
    subscribed: Callable[[str, Position, bool | None], bytes] | None = None
    alone: Encoding | None = None
    skipped: Callable[[str, Position], bytes] | None = None


def json_gap(channel: str, epoch: str, gap: Gap) -> bytes:
    """The `gap` of the JSON dialect: the offsets `from` to `to` of the log `epoch` will not come."""
    fields = {"from": gap.first, "to": gap.last, "reason": gap.reason.value}
    return orjson.dumps({"op": "gap", "channel": channel, "epoch": epoch, **fields})


def json_subscribed(channel: str, position: Position, recovered: bool | None) -> bytes:
    """The `subscribed` of the JSON dialect."""
    return orjson.dumps({"op": "subscribed", "channel": channel, **position._asdict(), "recovered": bool(recovered)})


def json_skipped(channel: str, position: Position) -> bytes:
    """The `skipped` of the JSON dialect: the client does not get that publication, and nothing is missing."""
    return orjson.dumps({"op": "skipped", "channel": channel, **position._asdict()})


def sse_gap(channel: str, epoch: str, gap: Gap) -> bytes:
    """The `gap` of the JSON dialect as an event. The id is the client's position behind the gap."""
    return event(json_gap(channel, epoch, gap), name="gap", event_id=str(Position(epoch, gap.last)))


def sse_subscribed(channel: str, position: Position, recovered: bool | None) -> bytes:
    """The `subscribed` of the JSON dialect as an event. The id is the position.

    The event has no id when a gap follows: a browser whose stream breaks in between repeats its old position, and then
    gets the gap.
    """
    event_id = "" if recovered is False else str(position)
    return event(json_subscribed(channel, position, recovered), name="subscribed", event_id=event_id)


PLAIN: Final = Dialect("plain", plain_frame, plain_payload, text_frame)
JSON: Final = Dialect(
    "fanwise.v1", json_frame, json_message, text_frame, json_gap, json_subscribed, json_direct, json_skipped
)
SSE: Final = Dialect("sse", sse_chunk, sse_event, chunk, sse_gap, sse_subscribed, sse_direct)
SSE_JSON: Final = Dialect("sse+json", sse_json_chunk, sse_json_event, chunk, sse_gap, sse_subscribed, sse_json_direct)

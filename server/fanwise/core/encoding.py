"""Encodings: functions that make a publication's bytes for one kind of client, once per publication.

They stay free of I/O: nothing here sends a frame.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Sequence

import orjson

from .publication import Encoding, Kind, Publication

_TEXT, _JSON, _BINARY = (
    Kind.TEXT,
    Kind.JSON,
    Kind.BINARY,
)  # as globals: CPython 3.11 makes a call of each attribute of an enum
_TEXT_FRAME, _BINARY_FRAME = 0x81, 0x82  # final, no extension bits, opcodes 1 and 2
_ONE_BYTE, _TWO_BYTES = 125, 65_535  # the largest payloads whose length takes one byte, and two more
_SHORT_HEAD, _LONG_HEAD = struct.Struct("!BB").pack, struct.Struct("!BBH").pack
_LONGEST_HEAD = struct.Struct("!BBQ").pack
_LINE_END = re.compile(rb"\r\n|\n|\r")  # what ends a line of an event stream (WHATWG HTML, section 9.2.5)


def join(publications: Sequence[Publication], encoding: Encoding) -> bytes:
    """The bytes of `publications` one after the other: a slice that one write can carry. O(bytes)."""
    if encoding is plain_frame and not publications[0].keeps(plain_frame):
        return plain_frames(publications)
    return b"".join([publication.encoded(encoding) for publication in publications])


# How bytes go over the wire.


def text_frame(payload: bytes) -> bytes:
    """One unmasked, unfragmented, uncompressed WebSocket text frame (RFC 6455 section 5.2)."""
    return websocket_frame(_TEXT_FRAME, payload)


def websocket_frame(head: int, payload: bytes) -> bytes:
    """One unmasked WebSocket frame; `head` is its first byte: final, extension bits and opcode."""
    size = len(payload)
    if size <= _ONE_BYTE:
        return _SHORT_HEAD(head, size) + payload
    if size <= _TWO_BYTES:
        return _LONG_HEAD(head, 126, size) + payload
    return _frame_head(head, size) + payload


def _frame_head(head: int, size: int) -> bytes:
    """What stands before a payload of `size` bytes."""
    if size <= _ONE_BYTE:
        return _SHORT_HEAD(head, size)
    return _LONG_HEAD(head, 126, size) if size <= _TWO_BYTES else _LONGEST_HEAD(head, 127, size)


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked HTTP body (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


# The plain dialect: the payload as it is.


def plain_payload(publication: Publication) -> bytes:
    """The payload."""
    return publication.payload


def plain_frame(publication: Publication) -> bytes:
    """The payload as one WebSocket frame: binary if it is binary, else text."""
    return websocket_frame(_BINARY_FRAME if publication.kind is _BINARY else _TEXT_FRAME, publication.payload)


def plain_frames(publications: Sequence[Publication]) -> bytes:
    """The payloads as WebSocket frames, one after the other.

    Publications keep none of them: a head is made in less time than memory is taken and freed.
    """
    if len(publications) == 1:
        return plain_frame(publications[0])
    payloads = [publication.payload for publication in publications]
    if _alike(publications, payloads):
        head = _plain_head(publications[0])
        return head + head.join(payloads)
    return b"".join([part for one in publications for part in (_plain_head(one), one.payload)])


def _alike(publications: Sequence[Publication], payloads: list[bytes]) -> bool:
    """Whether all are of one kind and size, as most are: one head then stands before each."""
    sizes = list(map(len, payloads))
    if sizes.count(sizes[0]) != len(sizes):
        return False
    kinds = [publication.kind for publication in publications]
    return kinds.count(kinds[0]) == len(kinds)


def _plain_head(publication: Publication) -> bytes:
    """What stands before the payload in its frame."""
    head = _BINARY_FRAME if publication.kind is _BINARY else _TEXT_FRAME
    return _frame_head(head, len(publication.payload))


# The JSON dialect.


def message_fields(publication: Publication) -> dict[str, object]:
    """Returns the fields of a publication in JSON beside its channel: `offset`, `data`, `key`, `tags`, `encoding`.

    Text is a JSON string, JSON is itself, and bytes are a string in base64 with `"encoding": "base64"`.
    """
    fields: dict[str, object] = {"offset": publication.offset}
    if publication.kind is _TEXT:
        fields["data"] = publication.payload.decode()
    elif publication.kind is _JSON:
        fields["data"] = orjson.Fragment(publication.payload)
    else:
        fields["data"] = base64.b64encode(publication.payload).decode()
        fields["encoding"] = "base64"
    if publication.key is not None:
        fields["key"] = publication.key
    if publication.tags is not None:
        fields["tags"] = publication.tags
    return fields


def json_bytes(value: object) -> bytes:
    """Returns `value` as JSON, in an object of its own size: orjson's results hold 4 KiB for 20 bytes.

    To be used for all that is retained. Raises orjson.JSONEncodeError, as `orjson.dumps` does.
    """
    return bytes(memoryview(orjson.dumps(value)))


def json_message(publication: Publication) -> bytes:
    """The `message` of the JSON dialect."""
    return json_bytes({"op": "message", "channel": publication.channel, **message_fields(publication)})


def json_direct(message: Publication) -> bytes:
    """The `direct` of the JSON dialect: a message to one client, which has no place in a log."""
    fields = message_fields(message)
    del fields["offset"]
    return json_bytes({"op": "direct", **fields})


def json_frame(publication: Publication) -> bytes:
    """The `message` of the JSON dialect as one WebSocket frame."""
    return text_frame(json_message(publication))


# Server-Sent Events (WHATWG HTML, section 9.2).


def event(data: bytes, *, name: str = "", event_id: str = "", retry_ms: int | None = None) -> bytes:
    """One event. Each line of `data` becomes a `data:` line, so that no payload can end the event or name a field."""
    head = f"event: {name}\n" if name else ""
    head += f"id: {event_id}\n" if event_id else ""
    head += f"retry: {retry_ms}\n" if retry_ms is not None else ""
    lines = b"".join([b"data: %b\n" % line for line in _LINE_END.split(data)])
    return head.encode() + lines + b"\n"


def sse_event(publication: Publication) -> bytes:
    """The payload as an event; a binary one in base64, with `event: binary`."""
    position = str(publication.position)
    if publication.kind is _BINARY:
        return event(base64.b64encode(publication.payload), name="binary", event_id=position)
    return event(publication.payload, event_id=position)


def sse_direct(message: Publication) -> bytes:
    """A message to one client as the event `direct`; a binary one in base64, as `direct-binary`. It has no id."""
    if message.kind is _BINARY:
        return event(base64.b64encode(message.payload), name="direct-binary")
    return event(message.payload, name="direct")


def sse_json_direct(message: Publication) -> bytes:
    """The `direct` of the JSON dialect as an event without an id."""
    return event(json_direct(message), name="direct")


def sse_chunk(publication: Publication) -> bytes:
    """The payload as an event, as it goes over the wire."""
    return chunk(sse_event(publication))


def sse_json_event(publication: Publication) -> bytes:
    """The `message` of the JSON dialect as an event."""
    return event(json_message(publication), event_id=str(publication.position))


def sse_json_chunk(publication: Publication) -> bytes:
    """The `message` of the JSON dialect as an event, as it goes over the wire."""
    return chunk(sse_json_event(publication))

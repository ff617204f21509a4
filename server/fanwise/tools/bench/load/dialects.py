"""The dialects of servers: how to subscribe, how to publish, and what answers mean."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple, Protocol

import orjson

_OFFSET = re.compile(rb'"offset":(\d+)')


class Meaning(Enum):
    """The meaning of a message without a payload of ours."""

    READY = auto()  # the subscription stands
    GAP = auto()  # the server says that it skipped messages
    REFUSED = auto()  # the server says that it did not do what was asked
    OTHER = auto()


class Position(NamedTuple):
    """A place in a channel's log: the last publication that a client has."""

    epoch: str
    offset: int


class Answer(NamedTuple):
    """A server's text beside the messages; `text` is for people.

    Attributes:
        position: Where a subscription begins; None where the server does not say.
        recovered: Whether a subscription that resumed begins without a gap.
    """

    meaning: Meaning
    skipped: int = 0
    text: str = ""
    position: Position | None = None
    recovered: bool = False


class Dialect(Protocol):
    """One way of using a broadcast server over WebSocket."""

    subprotocol: str | None

    def opening(self, channel: str, since: Position | None = None) -> bytes | None:
        """The text that subscribes a client, behind a position if any; None if the connection itself does."""

    def publish(self, channel: str, payload: bytes, key: str | None = None) -> bytes:
        """The text that publishes a payload."""

    def offset(self, frame: bytes | bytearray) -> int | None:
        """Returns the offset of the message in a frame; None where the server does not say."""

    def read(self, text: bytes) -> Answer:
        """Returns the meaning of a text without a payload of ours."""


class Plain:
    """A client's text goes to all clients, with any text around it."""

    subprotocol: str | None = None

    def opening(self, channel: str, since: Position | None = None) -> bytes | None:  # noqa: ARG002 - the URL names it
        """The connection is the subscription."""
        return None

    def publish(self, channel: str, payload: bytes, key: str | None = None) -> bytes:  # noqa: ARG002 - see above
        """The payload itself."""
        return payload

    def offset(self, frame: bytes | bytearray) -> int | None:  # noqa: ARG002 - it holds the text alone
        """A plain message has no offset."""
        return None

    def read(self, text: bytes) -> Answer:  # noqa: ARG002 - what others publish is nothing to us
        """Returns OTHER: a foreign message, or a greeting."""
        return Answer(Meaning.OTHER)


class FanwiseV1:
    """The JSON dialect `fanwise.v1`."""

    subprotocol: str | None = "fanwise.v1"

    def opening(self, channel: str, since: Position | None = None) -> bytes | None:
        """Subscribes at the head, or behind a position."""
        behind = {} if since is None else {"since": since._asdict()}
        return orjson.dumps({"op": "subscribe", "channel": channel, **behind})

    def publish(self, channel: str, payload: bytes, key: str | None = None) -> bytes:
        """The payload as a JSON string; payloads and keys have no character that JSON escapes."""
        more = b"" if key is None else b'"key":"%s",' % key.encode()
        return b'{"op":"publish","channel":"%s",%s"data":"%s"}' % (channel.encode(), more, payload)

    def offset(self, frame: bytes | bytearray) -> int | None:
        """Returns the offset, which stands in front of the data."""
        found = _OFFSET.search(frame)
        return int(found[1]) if found else None

    def read(self, text: bytes) -> Answer:
        """Returns the meaning of `op`; `published`, which comes for each message, is found without parsing."""
        if text.startswith(b'{"op":"published"'):
            return Answer(Meaning.OTHER)
        try:
            message = orjson.loads(text)
            match message["op"]:
                case "subscribed":
                    position = Position(message["epoch"], message["offset"])
                    return Answer(Meaning.READY, position=position, recovered=message["recovered"])
                case "gap":
                    return Answer(Meaning.GAP, skipped=message["to"] - message["from"] + 1)
                case "error":
                    return Answer(Meaning.REFUSED, text=f"{message['code']}: {message['message']}")
        except (orjson.JSONDecodeError, KeyError, TypeError):
            pass
        return Answer(Meaning.OTHER)


DIALECTS: dict[str, Dialect] = {"plain": Plain(), "fanwise.v1": FanwiseV1()}

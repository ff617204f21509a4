"""The dialects of servers: how to subscribe, how to publish, and what answers mean."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple, Protocol

import orjson


class Meaning(Enum):
    """The meaning of a message without a payload of ours."""

    READY = auto()  # the subscription stands
    GAP = auto()  # the server says that it skipped messages
    REFUSED = auto()  # the server says that it did not do what was asked
    OTHER = auto()


class Answer(NamedTuple):
    """A server's text beside the messages; `text` is for people."""

    meaning: Meaning
    skipped: int = 0
    text: str = ""


class Dialect(Protocol):
    """One way of using a broadcast server over WebSocket."""

    subprotocol: str | None

    def opening(self, channel: str) -> bytes | None:
        """The text that subscribes a client; None if the connection itself does."""

    def publish(self, channel: str, payload: bytes) -> bytes:
        """The text that publishes a payload."""

    def read(self, text: bytes) -> Answer:
        """Returns the meaning of a text without a payload of ours."""


class Plain:
    """A client's text goes to all clients, with any text around it."""

    subprotocol: str | None = None

    def opening(self, channel: str) -> bytes | None:  # noqa: ARG002 - the URL names the channel
        """The connection is the subscription."""
        return None

    def publish(self, channel: str, payload: bytes) -> bytes:  # noqa: ARG002 - the URL names the channel
        """The payload itself."""
        return payload

    def read(self, text: bytes) -> Answer:  # noqa: ARG002 - what others publish is nothing to us
        """Returns OTHER: a foreign message, or a greeting."""
        return Answer(Meaning.OTHER)


class FanwiseV1:
    """The JSON dialect `fanwise.v1`."""

    subprotocol: str | None = "fanwise.v1"

    def opening(self, channel: str) -> bytes | None:
        """Subscribes at the head."""
        return orjson.dumps({"op": "subscribe", "channel": channel})

    def publish(self, channel: str, payload: bytes) -> bytes:
        """The payload as a JSON string; payloads have no character that JSON escapes."""
        return b'{"op":"publish","channel":"%s","data":"%s"}' % (channel.encode(), payload)

    def read(self, text: bytes) -> Answer:
        """Returns the meaning of `op`; `published`, which comes for each message, is found without parsing."""
        if text.startswith(b'{"op":"published"'):
            return Answer(Meaning.OTHER)
        try:
            message = orjson.loads(text)
            match message["op"]:
                case "subscribed":
                    return Answer(Meaning.READY)
                case "gap":
                    return Answer(Meaning.GAP, skipped=message["to"] - message["from"] + 1)
                case "error":
                    return Answer(Meaning.REFUSED, text=f"{message['code']}: {message['message']}")
        except (orjson.JSONDecodeError, KeyError, TypeError):
            pass
        return Answer(Meaning.OTHER)


DIALECTS: dict[str, Dialect] = {"plain": Plain(), "fanwise.v1": FanwiseV1()}

"""How to speak to a server: what opens a subscription, how a payload is published, what an answer means."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple, Protocol

import orjson


class Meaning(Enum):
    """What a message that carries no payload of ours is."""

    READY = auto()  # the subscription stands
    GAP = auto()  # the server says that it skipped messages
    REFUSED = auto()  # the server says that it did not do what was asked
    OTHER = auto()


class Answer(NamedTuple):
    """What a server says beside the messages; `text` its own words."""

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
        """What a text without a payload of ours means."""


class Plain:
    """What a client sends goes to everybody, wrapped in whatever text the server likes."""

    subprotocol: str | None = None

    def opening(self, channel: str) -> bytes | None:  # noqa: ARG002 - the URL names the channel
        """The connection is the subscription."""
        return None

    def publish(self, channel: str, payload: bytes) -> bytes:  # noqa: ARG002 - likewise
        """The payload itself."""
        return payload

    def read(self, text: bytes) -> Answer:  # noqa: ARG002 - what others publish is nothing to us
        """Somebody else's message, or a greeting."""
        return Answer(Meaning.OTHER)


class FanwiseV1:
    """The JSON dialect `fanwise.v1`."""

    subprotocol: str | None = "fanwise.v1"

    def opening(self, channel: str) -> bytes | None:
        """Subscribes at the head."""
        return orjson.dumps({"op": "subscribe", "channel": channel})

    def publish(self, channel: str, payload: bytes) -> bytes:
        """The payload as a JSON string; it has no character that JSON escapes."""
        return b'{"op":"publish","channel":"%s","data":"%s"}' % (channel.encode(), payload)

    def read(self, text: bytes) -> Answer:
        """By its `op`; `published`, of which there is one for each message, is told without parsing."""
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

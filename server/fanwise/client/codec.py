"""The dialect `fanwise.v1` as a client speaks it: frames to and from objects, without I/O."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from ..core.publication import Position
from .errors import DialectError, PublishError
from .fields import number_of, seconds_of, text_of
from .presence import Change, Presence, join_of, leave_of, presence_gap_of, presence_of

SUBPROTOCOL = "fanwise.v1"

Filter: TypeAlias = Mapping[str, str | Sequence[str]]
"""{tag: the value, or one of the values, that a publication must have there}."""


@dataclass(frozen=True, slots=True)
class Message:
    """A publication, received by a client.

    Attributes:
        channel: The channel's name.
        epoch: The log that `offset` belongs to.
        offset: 1 for the first publication of a log, then one more each.
        data: A text, any other JSON value, or `bytes` if it was published as binary.
        key: The publication's key; None without one.
        tags: The publication's tags; None without any.
    """

    channel: str
    epoch: str
    offset: int
    data: Any
    key: str | None = None
    tags: dict[str, str] | None = None

    @property
    def position(self) -> Position:
        """The position of this message: `subscribe(since=...)` continues after it."""
        return Position(self.epoch, self.offset)


@dataclass(frozen=True, slots=True)
class Direct:
    """A message to this client alone, on no channel; one that does not arrive leaves no gap.

    Attributes:
        data: A text, any other JSON value, or `bytes`.
    """

    data: Any


@dataclass(frozen=True, slots=True)
class Skipped:
    """A publication that the server does not send to this client, as it is the client's own: nothing is missing."""

    channel: str
    position: Position


@dataclass(frozen=True, slots=True)
class Gap:
    """Publications that will not come.

    Attributes:
        channel: The channel's name.
        epoch: The log that `first` and `last` belong to.
        first: The first offset that is missing.
        last: The last missing offset; `first - 1` if none of this log is missing.
        reason: "history": the log did not reach back so far. "slow": this client was too slow, and the server's
            overflow policy skipped them. "backplane": the engine behind several servers has them no more. "epoch":
            another log has taken the place of the client's own; `first` to `last` of the new one are missing as well.
            "unknown": a hole that the server did not mention.
    """

    channel: str
    epoch: str
    first: int
    last: int
    reason: str

    def __str__(self) -> str:
        what = f"{self.first} to {self.last} are missing" if self.first <= self.last else "nothing is missing"
        change = "another log has taken its place; " if self.reason == "epoch" else ""
        return f"{self.channel}: {change}{what} of log {self.epoch} ({self.reason})"


@dataclass(frozen=True, slots=True)
class Welcome:
    """The first frame of a connection; `expires_in` is how many seconds the token of the handshake is good for."""

    client: str
    max_message_bytes: int
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The answer to a token; `expires_in` is how many seconds the token is good for, None: for ever."""

    user: str
    expires_in: float | None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The position at which a channel's stream begins: the next message, or a gap, begins behind `position`."""

    channel: str
    position: Position


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as in its frame: without the epoch."""

    channel: str
    offset: int
    data: Any
    key: str | None
    tags: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The last frame of a channel."""

    channel: str


@dataclass(frozen=True, slots=True)
class Published:
    """The acknowledgement of a publish."""

    request: int | str | None
    position: Position


@dataclass(frozen=True, slots=True)
class Failure:
    """The server's `error`."""

    code: str
    message: str
    request: int | str | None
    channel: str


Event: TypeAlias = (
    Welcome
    | Authenticated
    | Subscribed
    | Arrival
    | Gap
    | Skipped
    | Unsubscribed
    | Published
    | Failure
    | Direct
    | Presence
    | Change
)


def decode(frame: str | bytes) -> Event | None:
    """Returns the event in a frame of the server; None for an unknown `op`.

    Raises:
        DialectError: The frame is not an object of the dialect.
    """
    if isinstance(frame, bytes):
        raise DialectError(what="a binary frame", frame=frame)
    try:
        fields = orjson.loads(frame)
        event = _EVENTS.get(fields["op"])
        return None if event is None else event(fields)
    except orjson.JSONDecodeError as error:
        raise DialectError(what=f"no JSON ({error})", frame=frame) from error
    except KeyError as error:
        raise DialectError(what=f"no field {error}", frame=frame) from error
    except (TypeError, binascii.Error) as error:
        raise DialectError(what=str(error), frame=frame) from error


def _data(fields: dict[str, Any]) -> Any:
    return base64.b64decode(fields["data"], validate=True) if "encoding" in fields else fields["data"]


def _message(fields: dict[str, Any]) -> Arrival:
    data = _data(fields)
    return Arrival(text_of(fields, "channel"), number_of(fields, "offset"), data, fields.get("key"), fields.get("tags"))


def _gap(fields: dict[str, Any]) -> Gap:
    first, last = number_of(fields, "from"), number_of(fields, "to")
    return Gap(text_of(fields, "channel"), text_of(fields, "epoch"), first, last, text_of(fields, "reason"))


def _error(fields: dict[str, Any]) -> Failure:
    return Failure(text_of(fields, "code"), text_of(fields, "message"), fields.get("id"), fields.get("channel") or "")


_EVENTS: dict[str, Callable[[dict[str, Any]], Event]] = {
    "message": _message,
    "direct": lambda fields: Direct(_data(fields)),
    "gap": _gap,
    "skipped": lambda fields: Skipped(text_of(fields, "channel"), _position(fields)),
    "subscribed": lambda fields: Subscribed(text_of(fields, "channel"), _position(fields)),
    "unsubscribed": lambda fields: Unsubscribed(text_of(fields, "channel")),
    "published": lambda fields: Published(fields.get("id"), _position(fields)),
    "error": _error,
    "welcome": lambda fields: Welcome(
        text_of(fields, "client"), number_of(fields, "max_message_bytes"), seconds_of(fields, "expires_in")
    ),
    "authenticated": lambda fields: Authenticated(text_of(fields, "user"), seconds_of(fields, "expires_in")),
    "presence": presence_of,
    "join": join_of,
    "leave": leave_of,
    "presence_gap": presence_gap_of,
}


def _position(fields: dict[str, Any]) -> Position:
    return Position(text_of(fields, "epoch"), number_of(fields, "offset"))


def encode_subscribe(
    channel: str,
    since: Position | None,
    *,
    last: int | None = None,
    wanted: Filter | None = None,
    presence: bool = False,
) -> str:
    """Asks for a channel: from its head, after `since` or `last` before the head; only for what is `wanted`."""
    fields: dict[str, Any] = {"op": "subscribe", "channel": channel}
    if since is not None:
        fields["since"] = {"epoch": since.epoch, "offset": since.offset}
    elif last is not None:
        fields["last"] = last
    if wanted:
        fields["filter"] = wanted
    if presence:
        fields["presence"] = True
    return orjson.dumps(fields).decode()


def encode_authenticate(token: str) -> str:
    """Gives the server a token, in place of the one before."""
    return orjson.dumps({"op": "authenticate", "token": token}).decode()


def encode_unsubscribe(channel: str) -> str:
    """Asks for no more of a channel."""
    return orjson.dumps({"op": "unsubscribe", "channel": channel}).decode()


def encode_publish(
    channel: str,
    data: Any,
    *,
    key: str | None,
    request: int,
    tags: Mapping[str, str] | None = None,
    traceparent: str | None = None,
) -> tuple[str, int]:
    """A publish, and the bytes of its payload: (frame, payload bytes). NaN and infinities become null.

    Raises:
        PublishError: `data` cannot be written as JSON.
    """
    fields: dict[str, Any] = {"op": "publish", "channel": channel, "id": request}
    if key is not None:
        fields["key"] = key
    if tags:
        fields["tags"] = tags
    if traceparent is not None:
        fields["traceparent"] = traceparent
    try:
        if isinstance(data, bytes | bytearray | memoryview):
            size_bytes = memoryview(data).nbytes
            fields |= {"data": base64.b64encode(data).decode(), "encoding": "base64"}
        else:
            written = orjson.dumps(data)
            size_bytes = len(data.encode()) if isinstance(data, str) else len(written)
            fields["data"] = orjson.Fragment(written)
        return orjson.dumps(fields).decode(), size_bytes
    except TypeError as error:  # orjson's own error is one, also for text that is no Unicode
        raise PublishError(channel=channel, code="bad_json", message=f"the data is not JSON: {error}") from error

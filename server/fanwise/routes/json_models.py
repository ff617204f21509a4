"""The messages of the JSON dialect `fanwise.v1`, as pydantic models.

Operations of clients are read with these models. Messages to clients are written by `dialect`, `encoding` and
`json_session`; tests compare them with the models. `asyncapi` describes the dialect with all of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..core.codes import CodedError, ErrorCode
from ..core.publication import Kind
from ..errors import TagError
from .json_tags import FilterField, LastField, TagsField, check_objects
from .trace_context import TraceParent

SUBPROTOCOL = "fanwise.v1"
_NAMED_CHARACTERS = 64  # of a field's name, in the text of an error
MAX_TOKEN_CHARACTERS = 8_192
MAX_CHARACTERS = 255  # of a key or an id: they are kept, or sent back

Channel: TypeAlias = Annotated[
    str, Field(description="1 to 255 characters of A-Z a-z 0-9 . _ : / -", examples=["lobby"])
]
Epoch: TypeAlias = Annotated[
    str, Field(description="the log of the channel that an offset belongs to", examples=["9f2c01ab77e4"])
]
Offset: TypeAlias = Annotated[
    int, Field(ge=0, description="place in the log; the first publication is 1", examples=[42])
]
Identifier: TypeAlias = Annotated[
    Annotated[str, Field(max_length=MAX_CHARACTERS)] | int, Field(description="echoed in the answer", examples=["a1"])
]
ExpiresIn: TypeAlias = Annotated[float, Field(ge=0, description="seconds until the token ends, and the connection")]
Key: TypeAlias = Annotated[
    str, Field(max_length=MAX_CHARACTERS, description="the state that the data is the newest of", examples=["cell:7"])
]
Data: TypeAlias = Annotated[
    Any, Field(description="a string goes out as text, everything else as JSON", examples=["hello"])
]
Base64: TypeAlias = Annotated[Literal["base64"], Field(description="`data` is a string in base64: binary")]


class Strict(BaseModel):
    """A model that converts nothing and refuses unknown names."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Since(Strict):
    """The position of the last publication that the client has."""

    epoch: Epoch
    offset: Offset


class Subscribe(Strict):
    """Begins at the head, after `since`, or with the `last` ones. Answered with `subscribed`, before any message."""

    op: Literal["subscribe"]
    channel: Channel
    since: Since | None = None
    last: LastField | None = None
    filter: FilterField | None = None
    presence: Annotated[bool, Field(description="whether `join` and `leave` are sent")] = False


class Unsubscribe(Strict):
    """Answered with `unsubscribed`, after the channel's last message."""

    op: Literal["unsubscribe"]
    channel: Channel


class Publish(Strict):
    """Answered with `published` when it has its place in the log. Without `echo` the client itself does not get it."""

    op: Literal["publish"]
    channel: Channel
    data: Data
    id: Identifier | None = None
    key: Key | None = None
    tags: TagsField | None = None
    encoding: Base64 | None = None
    echo: bool = True
    traceparent: TraceParent | None = None


class AskPresence(Strict):
    """Answered with `presence`."""

    model_config = ConfigDict(title="Presence asked for")

    op: Literal["presence"]
    channel: Channel
    id: Identifier | None = None


class Authenticate(Strict):
    """Goes on with the rights of a token (RFC 7519). Answered with `authenticated`.

    Where listening asks for a token, and the handshake has brought none, this is the first message, within 5 s.
    Channels that the token does not name are left: each is `unsubscribed` before the answer.
    """

    op: Literal["authenticate"]
    token: Annotated[str, Field(max_length=MAX_TOKEN_CHARACTERS, description="a JSON Web Token")]


class Welcome(Strict):
    """The first message of a connection."""

    op: Literal["welcome"]
    client: Annotated[str, Field(description="the connection's id, as in GET /clients")]
    version: Annotated[str, Field(description="of the server")]
    max_message_bytes: int
    max_subscriptions: int
    expires_in: ExpiresIn | None = None


class Subscribed(Strict):
    """The position after which the stream begins; or the stream begins after the `gap` that follows."""

    op: Literal["subscribed"]
    channel: Channel
    epoch: Epoch
    offset: Offset
    recovered: Annotated[bool, Field(description="`since` was given, and nothing is missing")]


class Message(Strict):
    """A publication. Its epoch is that of `subscribed`. Offsets pass over what a filter does not let through."""

    op: Literal["message"]
    channel: Channel
    offset: Offset
    data: Data
    key: Key | None = None
    tags: TagsField | None = None
    encoding: Base64 | None = None


class GapMessage(Strict):
    """The offsets `from` to `to` will not come; none of this log if `to` is 0."""

    model_config = ConfigDict(title="Gap")

    op: Literal["gap"]
    channel: Channel
    epoch: Epoch
    first: Annotated[int, Field(alias="from", ge=1)]
    last: Annotated[int, Field(alias="to", ge=0)]
    reason: Annotated[
        Literal["history", "epoch", "slow", "backplane"],
        Field(
            description="history: the log does not reach back; epoch: the position's log is gone; slow: overflow; "
            "backplane: the engine behind several servers has them no more"
        ),
    ]


class Skipped(Strict):
    """The publication at this offset is not sent to this client, which was excluded. Nothing is missing there."""

    op: Literal["skipped"]
    channel: Channel
    epoch: Epoch
    offset: Offset


class Direct(Strict):
    """A message to this client alone: it is on no channel, and has no offset."""

    op: Literal["direct"]
    data: Data
    encoding: Base64 | None = None


class Published(Strict):
    """The publication's position."""

    op: Literal["published"]
    channel: Channel
    epoch: Epoch
    offset: Offset
    id: Identifier | None = None


class Unsubscribed(Strict):
    """The end of the channel's messages."""

    op: Literal["unsubscribed"]
    channel: Channel


UserId: TypeAlias = Annotated[str, Field(description="the user's id", examples=["ada"])]
Info: TypeAlias = Annotated[Any, Field(description="what others may know of the user", examples=[{"name": "Ada"}])]
Users: TypeAlias = Annotated[int, Field(ge=0, description="known users, each once")]


class PresentUser(Strict):
    """A user who is on a channel."""

    id: UserId
    info: Info


class PresenceAnswer(Strict):
    """The users on a channel. There need not be such a channel."""

    model_config = ConfigDict(title="Presence")

    op: Literal["presence"]
    channel: Channel
    clients: Annotated[int, Field(ge=0, description="connections, with a known user or without")]
    users: Users
    members: Annotated[list[PresentUser], Field(description="at most 1,000, in 64 KiB")]
    truncated: Annotated[bool, Field(description="`members` lacks some, or a worker has not answered")]
    id: Identifier | None = None


class Join(Strict):
    """A user has come to the channel, or has new info."""

    op: Literal["join"]
    channel: Channel
    id: UserId
    info: Info


class Leave(Strict):
    """The user's last connection has left the channel."""

    op: Literal["leave"]
    channel: Channel
    id: UserId


class PresenceGap(Strict):
    """Users have come and gone, too many to send each, or while the client did not read. `presence` has them."""

    op: Literal["presence_gap"]
    channel: Channel
    users: Users


class Authenticated(Strict):
    """The connection is the user's until the token ends: then it is closed with 4013."""

    op: Literal["authenticated"]
    user: str
    expires_in: ExpiresIn


DIALECT_CODES = tuple(code for code in ErrorCode if code.in_dialect)


def _check_code(code: str) -> str:
    if code not in DIALECT_CODES:
        raise ValueError(f"{code!r} is no error code of the JSON dialect")
    return code


DialectCode: TypeAlias = Annotated[
    str,
    Field(description="stable", json_schema_extra={"enum": [code.value for code in DIALECT_CODES]}),
    AfterValidator(_check_code),
]


class Error(Strict):
    """A message could not be used; the connection lives. `id` and `channel` are those of the message, if any."""

    op: Literal["error"]
    code: DialectCode
    message: Annotated[str, Field(description="what is wrong, and what is allowed")]
    id: Identifier | None = None
    channel: Annotated[str | None, Field(description="as it was sent")] = None


Op: TypeAlias = Annotated[Subscribe | Unsubscribe | Publish | Authenticate | AskPresence, Field(discriminator="op")]
_Told: TypeAlias = Welcome | Message | GapMessage | Skipped | Direct | Join | Leave | PresenceGap  # without a request
_Asked: TypeAlias = Subscribed | Published | Unsubscribed | Authenticated | PresenceAnswer
Answer: TypeAlias = Annotated[_Told | _Asked | Error, Field(discriminator="op")]

_TEXT, _BINARY = Kind.TEXT, Kind.BINARY  # as a global: CPython 3.11 makes a call of each attribute of an enum
_OPS: TypeAdapter[Subscribe | Unsubscribe | Publish | Authenticate | AskPresence] = TypeAdapter(Op)
_CODES: dict[str, ErrorCode] = {
    "missing": ErrorCode.MISSING_FIELD,
    "extra_forbidden": ErrorCode.UNKNOWN_FIELD,
    "union_tag_not_found": ErrorCode.MISSING_FIELD,
    "union_tag_invalid": ErrorCode.UNKNOWN_OP,
}


class UsualPublish(NamedTuple):
    """A `Publish` without key, tags and encoding, which needs no model: a third of the time."""

    channel: str
    data: Any
    id: str | int | None
    key: None = None
    tags: None = None
    encoding: None = None
    op: Literal["publish"] = "publish"


OPERATIONS = "subscribe, unsubscribe, publish, authenticate and presence"
_OP_FIELDS = max(len(model.model_fields) for model in (Subscribe, Unsubscribe, Publish, Authenticate, AskPresence))


class OpError(CodedError):
    """A message of the JSON dialect that cannot be used.

    Attributes:
        about: `id` and `channel` of the message, where it had them.
    """

    def __init__(self, code: ErrorCode, problem: str, about: dict[str, str | int] | None = None) -> None:
        super().__init__(code, problem)
        self.about = about or {}


Parsed: TypeAlias = Subscribe | Unsubscribe | Publish | Authenticate | AskPresence | UsualPublish


def parse_op(data: bytes | str, kind: Kind = _TEXT) -> Parsed:
    """Returns the operation that a client asks for. Raises OpError if the message is not JSON, or none of them."""
    if kind is _BINARY:
        raise OpError(ErrorCode.BAD_JSON, "a message is one JSON object in a text frame; this was a binary frame")
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise OpError(ErrorCode.BAD_JSON, f"the message is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise OpError(ErrorCode.BAD_JSON, 'a message is one JSON object, such as {"op":"subscribe","channel":"lobby"}')
    if (usual := _usual_publish(fields)) is not None:
        return usual
    if len(fields) > _OP_FIELDS:  # pydantic makes an error of each: a millisecond for 700
        raise _unknown_field(fields, Publish)
    if len(fields) > 2:  # noqa: PLR2004 - beside `op` and `channel`, which are no objects
        _check_inner(fields)
    try:
        return _OPS.validate_python(fields)
    except ValidationError as error:
        raise _translate(error, fields) from error


def _check_inner(fields: dict[str, Any]) -> None:
    """Checks objects in a message before pydantic does, which makes an error of each mistake in them."""
    since = fields.get("since")
    if isinstance(since, dict) and len(since) > len(Since.model_fields):
        raise _unknown_field(since, Since)
    try:
        check_objects(fields)
    except TagError as error:
        raise OpError(ErrorCode.BAD_TAGS, str(error), _about(fields)) from error


def _usual_publish(fields: dict[str, Any]) -> UsualPublish | None:
    """Returns the operation that the model would accept, if it is the usual one; None: the model looks at it."""
    if fields.get("op") != "publish" or "data" not in fields:
        return None
    channel, given_id, others = fields.get("channel"), fields.get("id"), len(fields) - 3
    if type(channel) is not str or others != ("id" in fields):
        return None
    if given_id is None or type(given_id) is int or (type(given_id) is str and len(given_id) <= MAX_CHARACTERS):
        return UsualPublish(channel, fields["data"], given_id)
    return None


def unknown_name(fields: dict[str, object], model: type[Strict]) -> str:
    """Returns the first name that `model` does not have, cut to 64 characters. `fields` has more than the model."""
    known = {field.alias or name for name, field in model.model_fields.items()}
    return next(name for name in fields if name not in known)[:_NAMED_CHARACTERS]


def _unknown_field(fields: dict[str, object], model: type[Strict]) -> OpError:
    problem = f"{unknown_name(fields, model)}: unknown; there are {', '.join(model.model_fields)}"
    return OpError(ErrorCode.UNKNOWN_FIELD, problem, _about(fields))


def _translate(error: ValidationError, fields: dict[str, object]) -> OpError:
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, detail["loc"][1:]))[:_NAMED_CHARACTERS]
    problem = f"{place}: {detail['msg']}" if place else f"op: it is one of {OPERATIONS}"
    return OpError(_CODES.get(detail["type"], ErrorCode.WRONG_TYPE), problem, _about(fields))


def _about(fields: dict[str, object]) -> dict[str, str | int]:
    given_id, channel = fields.get("id"), fields.get("channel")
    about: dict[str, str | int] = {}
    if isinstance(given_id, str | int) and not isinstance(given_id, bool) and len(str(given_id)) <= MAX_CHARACTERS:
        about["id"] = given_id
    if isinstance(channel, str) and len(channel) <= MAX_CHARACTERS:
        about["channel"] = channel
    return about

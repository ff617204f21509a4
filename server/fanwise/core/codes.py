"""The closed table of error codes: how requests, handshakes and messages of the JSON dialect are refused.

OpenAPI, AsyncAPI, the counters of refusals and the table in `docs/dialects.md` are derived from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self

from ..errors import (
    AlreadySubscribedError,
    BackplaneDownError,
    BeginningError,
    ChannelFullError,
    ChannelLimitError,
    ChannelNameError,
    DrainingError,
    FanwiseError,
    FilterLimitError,
    FullError,
    IdempotencyError,
    MessageTooBigError,
    NoChannelError,
    PayloadError,
    PositionError,
    RecordingLimitError,
    TagError,
    UnconfirmedError,
)
from .reasons import CloseReason

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
COME_BACK: Final[Mapping[str, str]] = MappingProxyType({"Retry-After": "5"})  # seconds: about a drain and a start
_CLOSE: Final[Mapping[str, str]] = MappingProxyType({"Connection": "close"})  # the rest of the body is not read
_UPGRADE: Final[Mapping[str, str]] = MappingProxyType({"Upgrade": "websocket", "Connection": "Upgrade"})
_CHALLENGE: Final[Mapping[str, str]] = MappingProxyType({"WWW-Authenticate": "Bearer"})  # RFC 9110, section 11.6.1


class ErrorCode(StrEnum):
    """A stable code: (code, HTTP status, text, whether the JSON dialect has it, headers of an HTTP answer).

    Attributes:
        status: Of an HTTP answer; None: the code stands only in the JSON dialect, or in the answer to a batch.
        text: One sentence for the documentation. The message of an answer names the case itself.
        in_dialect: Whether an `error` of the JSON dialect may have the code.
        headers: Of an HTTP answer.
    """

    status: int | None
    text: str
    in_dialect: bool
    headers: Mapping[str, str]

    def __new__(
        cls,
        code: str,
        status: int | None,
        text: str,
        in_dialect: bool = False,  # noqa: FBT002 - a column of the table
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Self:
        """Makes a row of the table."""
        self = str.__new__(cls, code)
        self._value_ = code
        self.status, self.text, self.in_dialect, self.headers = status, text, in_dialect, headers
        return self

    ALREADY_SUBSCRIBED = ("already_subscribed", None, "The connection is on this channel already.", True)
    BACKPLANE_DOWN = (
        "backplane_down",
        503,
        "The engine behind several servers is not available: come back after `Retry-After` seconds.",
        True,
        COME_BACK,
    )
    BAD_CHANNEL = ("bad_channel", 400, "The channel's name is not allowed.", True)
    BAD_ENTRY = ("bad_entry", None, "An entry of a batch has a missing, unknown or wrong field.")
    BAD_HOST = ("bad_host", 403, "The server does not answer for the host that the request names.")
    BAD_JSON = ("bad_json", 400, "The body, or the message, is not the JSON that is expected.", True)
    BAD_ORIGIN = ("bad_origin", 403, "The page that the request comes from is of another host.")
    BAD_POSITION = (
        "bad_position",
        400,
        "A position does not look like `epoch:offset`, or a stream is to begin at two places.",
        True,
    )
    BAD_REQUEST = ("bad_request", 400, "A parameter or the body is not what the route takes.")
    BAD_TAGS = ("bad_tags", 400, "Tags, or a filter, are not allowed.", True)
    BAD_TEXT = ("bad_text", 400, "The body is said to be text, and is not UTF-8.")
    BUSY = (
        "busy",
        503,
        "More connections are opened per second than the server takes in: come back after `Retry-After` seconds.",
        False,
        COME_BACK,
    )
    CHANNEL_FULL = (
        "channel_full",
        503,
        "The channel has as many clients as its options allow: come back after `Retry-After` seconds.",
        True,
        COME_BACK,
    )
    CONNECTS_TOO_FAST = (
        "connects_too_fast",
        429,
        "The address opens too many connections per second: come back after `Retry-After` seconds.",
        False,
        COME_BACK,
    )
    DRAINING = (
        "draining",
        503,
        "The server stops: come back after `Retry-After` seconds.",
        False,
        COME_BACK,
    )
    FORBIDDEN = ("forbidden", 403, "The user has no right to do this on the channel.", True)
    FULL = ("full", 503, "All places for clients are taken: come back after `Retry-After` seconds.", False, COME_BACK)
    HEAD_TOO_LARGE = ("head_too_large", 431, "The head, or the trailers, of the request are too large.", False, _CLOSE)
    IDEMPOTENCY_KEY_REUSED = ("idempotency_key_reused", 422, "The `Idempotency-Key` was used for another request.")
    INCOMPLETE_BODY = ("incomplete_body", 400, "The connection ended before the whole body had come.")
    LATE = ("late", 408, "The request did not come in time.", False, _CLOSE)
    MISSING_FIELD = ("missing_field", None, "The message lacks a field.", True)
    NO_CHANNEL = ("no_channel", 404, "The channel does not exist, or may not be opened by this peer.", True)
    NO_CLIENT = ("no_client", 404, "The client does not exist.")
    NO_DEMO = ("no_demo", 403, "The demo is not available, or not from here.")
    NO_METRICS = ("no_metrics", 503, "The server lacks the extra `metrics`.")
    NOT_SUBSCRIBED = ("not_subscribed", None, "The connection is not on this channel.", True)
    PUBLISHES_TOO_FAST = (
        "publishes_too_fast",
        429,
        "The connection or its address publishes too much per second: come back after `Retry-After` seconds.",
        False,
        COME_BACK,
    )
    READERS_BEHIND = (
        "readers_behind",
        None,
        "An entry of a batch was not published: the entries before it had to wait for readers. Send it again later.",
    )
    TOKENS_TOO_FAST = (
        "tokens_too_fast",
        429,
        "The connection or its address sends too many tokens per second: come back after `Retry-After` seconds.",
        True,
        COME_BACK,
    )
    TOO_BIG = ("too_big", 413, "The payload, or the body, is too big; nothing was published.", True, _CLOSE)
    TOO_MANY_CHANNELS = (
        "too_many_channels",
        503,
        "All channels are in use: come back after `Retry-After` seconds.",
        True,
        COME_BACK,
    )
    TOO_MANY_CONNECTIONS = (
        "too_many_connections",
        429,
        "The address has too many connections: come back after `Retry-After` seconds.",
        False,
        COME_BACK,
    )
    TOO_MANY_FILTERS = (
        "too_many_filters",
        503,
        "The clients of the channel have as many different filters as there may be.",
        True,
        COME_BACK,
    )
    TOO_MANY_SUBSCRIPTIONS = (
        "too_many_subscriptions",
        None,
        "The connection is on as many channels as it may be.",
        True,
    )
    TOO_MANY_TRACES = (
        "too_many_traces",
        503,
        "As many traces are recorded as may be at a time: come back after `Retry-After` seconds.",
        False,
        COME_BACK,
    )
    UNAUTHORISED = ("unauthorised", 401, "A key or a token is missing, or is not valid.", True, _CHALLENGE)
    UNKNOWN_FIELD = ("unknown_field", None, "The message has a field that its operation does not have.", True)
    UNKNOWN_OP = ("unknown_op", None, "The message's operation does not exist.", True)
    UNCONFIRMED = (
        "unconfirmed",
        504,
        "The engine, or another worker, has not answered: perhaps it was done.",
        True,
    )
    UPGRADE_REQUIRED = ("upgrade_required", 426, "The route is a WebSocket, and the request is none.", False, _UPGRADE)
    WRONG_VERSION = ("wrong_version", 426, "The version of WebSocket is not 13.", False, _CLOSE)
    WRONG_TYPE = ("wrong_type", None, "A field has a value of the wrong type, or the payload is no JSON.", True)


class CodedError(FanwiseError, ValueError):
    """A refusal that has no class of its own.

    Attributes:
        code: From the table.
        problem: What is wrong, and what is allowed.
    """

    def __init__(self, code: ErrorCode, problem: str) -> None:
        super().__init__(code, problem)
        self.code = code
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


_CODES: Final[Mapping[type[FanwiseError], ErrorCode]] = {
    AlreadySubscribedError: ErrorCode.ALREADY_SUBSCRIBED,
    BackplaneDownError: ErrorCode.BACKPLANE_DOWN,
    BeginningError: ErrorCode.BAD_POSITION,
    ChannelFullError: ErrorCode.CHANNEL_FULL,
    ChannelLimitError: ErrorCode.TOO_MANY_CHANNELS,
    ChannelNameError: ErrorCode.BAD_CHANNEL,
    DrainingError: ErrorCode.DRAINING,
    FilterLimitError: ErrorCode.TOO_MANY_FILTERS,
    FullError: ErrorCode.FULL,
    IdempotencyError: ErrorCode.IDEMPOTENCY_KEY_REUSED,
    MessageTooBigError: ErrorCode.TOO_BIG,
    NoChannelError: ErrorCode.NO_CHANNEL,
    PayloadError: ErrorCode.WRONG_TYPE,
    PositionError: ErrorCode.BAD_POSITION,
    RecordingLimitError: ErrorCode.TOO_MANY_TRACES,
    TagError: ErrorCode.BAD_TAGS,
    UnconfirmedError: ErrorCode.UNCONFIRMED,
}


_CLOSES: Final[Mapping[ErrorCode, CloseReason]] = {
    ErrorCode.CHANNEL_FULL: CloseReason.FULL,
    ErrorCode.DRAINING: CloseReason.SHUTDOWN,
    ErrorCode.FORBIDDEN: CloseReason.FORBIDDEN,
    ErrorCode.FULL: CloseReason.FULL,
    ErrorCode.TOO_BIG: CloseReason.TOO_BIG,
    ErrorCode.TOO_MANY_CHANNELS: CloseReason.FULL,
    ErrorCode.UNAUTHORISED: CloseReason.UNAUTHORISED,
}
_CLOSE_TEXT_BYTES: Final = 123  # RFC 6455 section 5.5


def close_of(error: BaseException) -> tuple[ErrorCode, CloseReason, str] | None:
    """Returns the code, the reason and the text that a WebSocket is closed with; None if the mistake is not the peer's.

    A payload that JSON has no word for is a mistake of the application.
    """
    code = code_of(error) if isinstance(error, FanwiseError) and not isinstance(error, PayloadError) else None
    if code is None:
        return None
    reason = _CLOSES.get(code, CloseReason.REFUSED)
    text = f"{code}: {error}" if reason is CloseReason.REFUSED else reason.text
    return code, reason, text.encode()[:_CLOSE_TEXT_BYTES].decode(errors="ignore")


def code_of(error: FanwiseError) -> ErrorCode | None:
    """The code that `error` is answered with; None if the mistake is not the peer's."""
    return error.code if isinstance(error, CodedError) else _CODES.get(type(error))

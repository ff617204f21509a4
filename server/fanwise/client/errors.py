"""The errors of the Python client: a branch of the tree in `errors`."""

from __future__ import annotations

from ..core.publication import Position
from ..errors import FanwiseError, shorten


class ClientError(FanwiseError):
    """The root of the Python client's errors."""


class RefusedError(ClientError, ConnectionError):
    """The server refused the handshake in a way that asking again does not change.

    Attributes:
        status: The HTTP status of the answer; 0 without one (no HTTP, a wrong certificate).
        text: The server's or the library's explanation.
    """

    def __init__(self, *, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text

    def __str__(self) -> str:
        status = f" with status {self.status}" if self.status else ""
        return f"the connection was refused{status}: {self.text or 'without a word'}"


class TokenError(ClientError, ConnectionError):
    """There is no token to connect with: the callback failed, or the server does not take what the callback returned.

    A callback that wants no other attempt raises `RefusedError`.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"no token: {self.why}"


class ClosedError(ClientError, ConnectionError):
    """The connection is closed for good: the close code asks not to reconnect, or the program closed the client.

    Attributes:
        code: The close code (RFC 6455 section 7.4).
        reason: The close text.
    """

    def __init__(self, *, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection is closed with {self.code}" + (f": {self.reason}" if self.reason else "")


class NotConnectedError(ClientError, TimeoutError):
    """A subscription without an answer in time, or a publish without a connection. Nothing was published.

    Attributes:
        url: The server's URL.
        seconds: The time waited, in seconds.
        last: The failure of the last attempt to connect; "" without one.
    """

    def __init__(self, *, url: str, seconds: float, last: str) -> None:
        super().__init__(url, seconds, last)
        self.url = url
        self.seconds = seconds
        self.last = last

    def __str__(self) -> str:
        last = f" ({self.last})" if self.last else ""
        return f"no answer from {self.url} within {self.seconds:g} seconds{last}"


class UnconfirmedError(ClientError):
    """A publication was sent and its acknowledgement did not come: it may or may not have been published."""

    def __init__(self, *, channel: str, why: str) -> None:
        super().__init__(channel, why)
        self.channel = channel
        self.why = why

    def __str__(self) -> str:
        return f"the message to channel {self.channel} may or may not have been published: {self.why}"


class AnswerError(ClientError):
    """An operation on a channel that the server refused.

    Attributes:
        channel: The channel's name; "" when the server did not name one.
        code: One of the dialect's error codes, such as "bad_channel" or "too_big".
        message: The server's sentence.
    """

    failed = "refused for channel"

    def __init__(self, *, channel: str, code: str, message: str) -> None:
        super().__init__(channel, code, message)
        self.channel = channel
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.failed} {shorten(self.channel)}: {self.message} ({self.code})"


class PublishError(AnswerError):
    """A message was not published: the server, or the client on its behalf, refused it."""

    failed = "not published to channel"


class SubscribeError(AnswerError):
    """A subscription was refused, or could not be renewed after a reconnect: the channel is not subscribed."""

    failed = "not subscribed to channel"


class PresenceError(AnswerError):
    """The server does not tell who is on a channel."""

    failed = "no presence of channel"


class BatchError(ClientError):
    """Not all messages of a `publish_many` are known to be published. `__cause__` is the first error.

    Attributes:
        results: The position of each message that was sent, or its error, in their order. Later messages were not sent.
    """

    def __init__(self, results: list[Position | ClientError]) -> None:
        super().__init__(results)
        self.results = results

    def __str__(self) -> str:
        failed = [(number, one) for number, one in enumerate(self.results, 1) if isinstance(one, ClientError)]
        number, first = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return f"message {number}{more}: {first}"


class DialectError(ClientError, ValueError):
    """The server sent something that is not `fanwise.v1`."""

    def __init__(self, *, what: str, frame: str | bytes) -> None:
        super().__init__(what, frame)
        self.what = what
        self.frame = frame

    def __str__(self) -> str:
        return f"the server does not speak fanwise.v1: {self.what} in {shorten(self.frame)}"

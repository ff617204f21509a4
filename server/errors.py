"""Everything that Fanwise raises: a tree of exceptions that carry their data and build their sentence in `__str__`."""

from __future__ import annotations


class FanwiseError(Exception):
    """The root of the tree: catch this to catch everything that Fanwise raises on purpose."""


_SHOWN_CHARACTERS = 64


def shorten(text: str) -> str:
    """What somebody else chose, quoted for a sentence of ours, and not longer than a line."""
    return repr(text[:_SHOWN_CHARACTERS]) + ("..." if len(text) > _SHOWN_CHARACTERS else "")


class ChannelNameError(FanwiseError, ValueError):
    """A channel name that is not 1-255 characters of letters, digits and `._:/-`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"channel name {shorten(self.name)} is not allowed: it takes 1 to 255 characters of A-Z a-z 0-9 . _ : / -"
        )


class PositionError(FanwiseError, ValueError):
    """A text that is not a position."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"position {shorten(self.text)} is not allowed: it looks like 'epoch:offset', as in '1f0c9a3e:42'"


class PayloadError(FanwiseError, TypeError):
    """A payload that is neither text nor bytes, and that JSON has no word for."""

    def __init__(self, payload: object, problem: str) -> None:
        super().__init__(payload, problem)
        self.payload = payload
        self.problem = problem

    def __str__(self) -> str:
        return f"a payload of type {type(self.payload).__name__} cannot be published: {self.problem}"


class ChannelLimitError(FanwiseError, RuntimeError):
    """One more channel than there may be, and all of them have clients."""

    def __init__(self, *, limit_channels: int) -> None:
        super().__init__(limit_channels)
        self.limit_channels = limit_channels

    def __str__(self) -> str:
        return f"all {self.limit_channels} channels are in use"


class MessageTooBigError(FanwiseError, ValueError):
    """A payload above the limit; nothing of it was published."""

    def __init__(self, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(size_bytes, limit_bytes)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return f"the payload has {self.size_bytes} bytes, {self.limit_bytes} are allowed"


class NotRunningError(FanwiseError, RuntimeError):
    """The broadcaster was used outside its lifespan."""

    def __str__(self) -> str:
        return (
            "the broadcaster is not running: start it with FastAPI(lifespan=broadcaster.lifespan), "
            "app.include_router(broadcaster.router) or `async with broadcaster:`"
        )


class AlreadyConnectedError(FanwiseError, RuntimeError):
    """The same WebSocket was given to the broadcaster twice."""

    def __str__(self) -> str:
        return "this WebSocket is a client already: connect() takes each WebSocket once"


class FullError(FanwiseError, RuntimeError):
    """The broadcaster holds as many clients as it may."""

    def __init__(self, *, limit_clients: int) -> None:
        super().__init__(limit_clients)
        self.limit_clients = limit_clients

    def __str__(self) -> str:
        return f"all {self.limit_clients} places are taken"


class GoneError(FanwiseError, RuntimeError):
    """The client has gone, or is going."""

    def __str__(self) -> str:
        return "this client is closed: it cannot be put onto a channel any more"


class DrainingError(FanwiseError, RuntimeError):
    """The server is about to stop and takes nobody in."""

    def __str__(self) -> str:
        return "the server is restarting: come back in a moment"


class SettingsError(FanwiseError, ValueError):
    """Settings that cannot be used: each problem names what is wrong and what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class InputError(FanwiseError, ValueError):
    """What a command was given to publish is no text, or no JSON."""


class ClientError(FanwiseError):
    """The root of what the Python client raises."""


class RefusedError(ClientError, ConnectionError):
    """The server refused the handshake in a way that asking again does not change.

    Attributes:
        status: The HTTP status of the answer; 0 when there was none to speak of (no HTTP, a certificate that is wrong).
        text: What the server, or the library, said about it.
    """

    def __init__(self, *, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text

    def __str__(self) -> str:
        status = f" with status {self.status}" if self.status else ""
        return f"the connection was refused{status}: {self.text or 'without a word'}"


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
    """There was no answer to a subscription, or no connection to publish on, in time. Nothing was published.

    Attributes:
        url: Where the server should be.
        seconds: How long was waited.
        last: What the last attempt to connect said; "" if there was none that failed.
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
    """What was asked for a channel was refused.

    Attributes:
        channel: Which one; "" when the server did not say.
        code: One of the dialect's error codes, such as "bad_channel" or "too_big".
        message: The sentence that came with it.
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


class DialectError(ClientError, ValueError):
    """The server sent something that is not `fanwise.v1`."""

    def __init__(self, *, what: str, frame: str | bytes) -> None:
        super().__init__(what, frame)
        self.what = what
        self.frame = frame

    def __str__(self) -> str:
        shown = repr(self.frame[:_SHOWN_CHARACTERS]) + ("..." if len(self.frame) > _SHOWN_CHARACTERS else "")
        return f"the server does not speak fanwise.v1: {self.what} in {shown}"

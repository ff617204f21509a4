"""Everything that Fanwise raises: a tree of exceptions that carry their data and build their sentence in `__str__`."""

from __future__ import annotations


class FanwiseError(Exception):
    """The root of the tree: everything that Fanwise raises on purpose."""


class ProblemError(FanwiseError):
    """An error whose sentence is written where it is raised.

    Attributes:
        problem: What is wrong, and what is allowed or to be done instead.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class ProblemsError(FanwiseError):
    """Several problems at once.

    Attributes:
        problems: Each names what is wrong and what is allowed.
    """

    _between = "\n"

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return self._between.join(self.problems)


_SHOWN_CHARACTERS = 64


def shorten(text: str | bytes) -> str:
    """Returns foreign text quoted for a sentence, cut to 64 characters."""
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


class BeginningError(ProblemError, ValueError):
    """A stream cannot begin where it is asked to."""


class TagError(ProblemError, ValueError):
    """Tags, or a filter, that are not allowed."""


class FilterLimitError(FanwiseError, RuntimeError):
    """One filter too many on a channel. `owner`: the address whose clients have too many; empty: all together have."""

    def __init__(self, name: str, *, limit_filters: int, owner: str = "") -> None:
        super().__init__(name, limit_filters, owner)
        self.name = name
        self.limit_filters = limit_filters
        self.owner = owner

    def __str__(self) -> str:
        of = f"of {self.owner} on" if self.owner else "of"
        return (
            f"the clients {of} channel {shorten(self.name)} have {self.limit_filters} different filters already: "
            "take one of theirs, or a channel of its own for what you want"
        )


class PayloadError(FanwiseError, TypeError):
    """A payload that is neither text nor bytes nor JSON."""

    def __init__(self, payload: object, problem: str) -> None:
        super().__init__(payload, problem)
        self.payload = payload
        self.problem = problem

    def __str__(self) -> str:
        return f"a payload of type {type(self.payload).__name__} cannot be published: {self.problem}"


class ChannelLimitError(FanwiseError, RuntimeError):
    """One channel too many, and all of them have clients."""

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
    """A WebSocket that the broadcaster has already."""

    def __str__(self) -> str:
        return "this WebSocket is a client already: connect() takes each WebSocket once"


class FullError(FanwiseError, RuntimeError):
    """All places for clients are taken."""

    def __init__(self, *, limit_clients: int) -> None:
        super().__init__(limit_clients)
        self.limit_clients = limit_clients

    def __str__(self) -> str:
        return f"all {self.limit_clients} places are taken"


class ChannelFullError(FullError):
    """All places for clients on one channel are taken."""

    def __init__(self, name: str, *, limit_clients: int) -> None:
        super().__init__(limit_clients=limit_clients)
        self.name = name

    def __str__(self) -> str:
        return f"all {self.limit_clients} places on channel {shorten(self.name)} are taken"


class NoChannelError(FanwiseError, ValueError):
    """A channel that does not exist, and that is not opened for whoever asks."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"channel {shorten(self.name)} does not exist, and the options of channels do not let it be opened here"


class RecordingLimitError(FanwiseError, RuntimeError):
    """One trace too many is to be recorded at the same time."""

    def __init__(self, *, limit_recordings: int) -> None:
        super().__init__(limit_recordings)
        self.limit_recordings = limit_recordings

    def __str__(self) -> str:
        return f"{self.limit_recordings} traces are being recorded already"


class AlreadySubscribedError(FanwiseError, RuntimeError):
    """The client is on that channel."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"this client is on channel {shorten(self.name)} already: unsubscribe it first"


class GoneError(FanwiseError, RuntimeError):
    """The client has gone, or is going."""

    def __str__(self) -> str:
        return "this client is closed: it cannot be put onto a channel any more"


class DrainingError(FanwiseError, RuntimeError):
    """The server is about to stop and takes in no clients."""

    def __str__(self) -> str:
        return "the server is restarting: come back in a moment"


class BackplaneDownError(FanwiseError, RuntimeError):
    """The engine behind several servers cannot be reached, or is full: nothing was published, or no channel opened.

    Attributes:
        why: What the engine said, or what is missing.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"nothing was done, as the backplane is not available: {self.why}"


class UnconfirmedError(FanwiseError, RuntimeError):
    """The engine behind several servers has not answered: perhaps it was published.

    Attributes:
        why: What happened meanwhile.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"it is unknown whether this was published: {self.why}; send it again with the same Idempotency-Key"


class IdempotencyError(FanwiseError, ValueError):
    """The key was used for another request."""

    def __str__(self) -> str:
        return "this Idempotency-Key was used for another request: take a new one for each"


class PublishNowaitError(FanwiseError, RuntimeError):
    """A synchronous publication where an engine has to be waited for."""

    def __str__(self) -> str:
        return (
            "behind a backplane publish_nowait cannot know the position: use `await publish()`, or `submit()`, which "
            "returns a future at once"
        )


class ThreadError(ProblemError, RuntimeError):
    """A call in the wrong thread; nothing was published by it."""


class UserError(ProblemError, ValueError):
    """A user that cannot be one."""


class SettingsError(ProblemsError, ValueError):
    """Settings that cannot be used."""


class OptionsError(ProblemsError, ValueError):
    """Channel options that cannot be used."""

    _between = "; "


class InputError(FanwiseError, ValueError):
    """The input of a command is no text, or no JSON."""


class TraceError(FanwiseError, ValueError):
    """A trace that cannot be read on: `offset` in bytes, and what is wrong there."""

    def __init__(self, offset: int, problem: str) -> None:
        super().__init__(offset, problem)
        self.offset = offset
        self.problem = problem

    def __str__(self) -> str:
        return f"at byte {self.offset}: {self.problem}"

"""Everything that Fanwise raises: a tree of exceptions that carry their data and build their sentence in `__str__`."""

from __future__ import annotations


class FanwiseError(Exception):
    """The root of the tree: catch this to catch everything that Fanwise raises on purpose."""


_SHOWN_CHARACTERS = 64  # of what somebody else chose, in a sentence of ours


class ChannelNameError(FanwiseError, ValueError):
    """A channel name that is not 1-255 characters of letters, digits and `._:/-`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        shown = repr(self.name[:_SHOWN_CHARACTERS]) + ("..." if len(self.name) > _SHOWN_CHARACTERS else "")
        return f"channel name {shown} is not allowed: it takes 1 to 255 characters of A-Z a-z 0-9 . _ : / -"


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

"""The errors of `fanwise bench`."""

from __future__ import annotations

from ...errors import FanwiseError


class BenchFailedError(FanwiseError, RuntimeError):
    """A run came to nothing: clients that did not connect, a server that did not start, a process that ended."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class OptionError(FanwiseError, ValueError):
    """An option whose value cannot be used; says what is allowed."""

    def __init__(self, option: str, value: object, allowed: str) -> None:
        super().__init__(option, value, allowed)
        self.option = option
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.option} is {self.value!r}: it takes {self.allowed}"

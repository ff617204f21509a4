"""Single keys of a terminal, read while the command waits for the next look."""

from __future__ import annotations

import os
import select
import termios
import time
import tty
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TextIO

_READ_BYTES = 64


class Keys:
    """Hands over keys at once and without an echo, between entering and leaving.

    Args:
        stream: The terminal that the keys come from.
    """

    def __init__(self, stream: TextIO) -> None:
        self._fd = stream.fileno()
        self._gone = False
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)  # Ctrl-C goes on being a signal
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def wait(self, seconds: float) -> str:
        """Waits for at most `seconds`; returns the keys that were pressed, or an empty text after that time."""
        if self._gone:
            time.sleep(seconds)
            return ""
        if not select.select([self._fd], [], [], seconds)[0]:
            return ""
        pressed = os.read(self._fd, _READ_BYTES)
        self._gone = not pressed
        return pressed.decode(errors="replace")

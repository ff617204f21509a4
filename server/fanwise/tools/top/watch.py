"""The loop that asks a server again and again, and shows what came."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, Self

from ..humanize import printable
from ..rates import Document, between
from ..remote import ForeignError, Remote, RemoteError, UnreachableError
from .picture import Picture, paint


class Canvas(Protocol):
    """Shows pictures between entering and leaving."""

    def __enter__(self) -> Self:
        """Begins."""

    def __exit__(self, *_: object) -> None:
        """Ends."""

    def show(self, picture: Picture | None, trouble: str) -> None:
        """Shows the last picture, and what keeps a newer one from coming."""


class Watch:
    """Asks one server, and keeps the last document for the next rates."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._last: Document | None = None
        self._seen_at = time.monotonic()
        self.picture: Picture | None = None
        self.trouble = ""

    def ask(self) -> None:
        """Makes a new picture.

        Raises:
            RemoteError: No server answers, or the key is refused.
        """
        document = self._remote.stats(everywhere=True)
        self.picture = self._paint(document)
        self._last, self._seen_at, self.trouble = document, time.monotonic(), ""

    def look(self) -> None:
        """Makes a new picture; notes in `trouble` that the server is gone, or not there yet.

        Raises:
            RemoteError: The first answer is of no Fanwise server, or refuses the key.
        """
        try:
            self.ask()
        except RemoteError as error:
            if self._last is None and not isinstance(error, UnreachableError):
                raise
            since = f" (for {time.monotonic() - self._seen_at:.0f} s)" if self._last is not None else ""
            self.trouble = f"{error}; trying again{since}"

    def _paint(self, document: Document) -> Picture:
        try:
            return paint(document, between(self._last, document) if self._last is not None else None)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            problem = f"GET /stats looks different ({type(error).__name__}: {printable(error, most=200)})"
            raise ForeignError(self._remote.url, problem) from error


def watch(remote: Remote, canvas: Canvas, *, interval_seconds: float, wait: Callable[[float], None]) -> None:
    """Shows the server until the process is interrupted.

    Raises:
        RemoteError: The answer is of no Fanwise server, or refuses the key.
    """
    watched = Watch(remote)
    watched.look()  # before the screen is taken: what ends the command is to be read
    with canvas:
        while True:
            canvas.show(watched.picture, watched.trouble)
            wait(interval_seconds)
            watched.look()


def glance(remote: Remote, canvas: Canvas, *, interval_seconds: float, wait: Callable[[float], None]) -> None:
    """Shows the server once, with the rates of one interval.

    Raises:
        RemoteError: No server answers, or the key is refused.
    """
    watched = Watch(remote)
    for after_seconds in (0.0, interval_seconds):
        wait(after_seconds)
        watched.ask()
    with canvas:
        canvas.show(watched.picture, "")

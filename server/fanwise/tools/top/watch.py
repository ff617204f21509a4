"""The loop that asks a server again and again, and shows what came."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, Self

from ..humanize import printable
from ..rates import Document, Rates, between
from ..remote import ForeignError, Remote, RemoteError, UnreachableError
from .picture import SORTS, Picture, paint
from .trends import Trends


class Canvas(Protocol):
    """Shows pictures between entering and leaving."""

    def __enter__(self) -> Self:
        """Begins."""

    def __exit__(self, *_: object) -> None:
        """Ends."""

    def show(self, picture: Picture | None, trouble: str) -> None:
        """Shows the last picture, and what keeps a newer one from coming."""


class Watch:
    """Asks one server, and keeps the last document for the next rates.

    Attributes:
        picture: The latest; None before the first.
        trouble: What keeps a newer one from coming; empty without trouble.
        sort: The column that orders the clients.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._last: Document | None = None
        self._rates: Rates | None = None
        self._trends = Trends()
        self._seen_at = time.monotonic()
        self.picture: Picture | None = None
        self.trouble = ""
        self.sort = next(iter(SORTS))

    def ask(self) -> None:
        """Makes a new picture.

        Raises:
            RemoteError: No server answers, or the key is refused.
        """
        document = self._remote.stats(everywhere=True)
        self._paint(document, anew=True)
        self._last, self._seen_at, self.trouble = document, time.monotonic(), ""

    def order(self, step: int) -> None:
        """Orders the clients by the column that is `step` further."""
        names = list(SORTS)
        self.sort = names[(names.index(self.sort) + step) % len(names)]
        if self._last is not None:
            self._paint(self._last, anew=False)

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

    def _paint(self, document: Document, *, anew: bool) -> None:
        try:
            if anew:
                self._rates = between(self._last, document) if self._last is not None else None
            picture = paint(document, self._rates, sort=self.sort)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            problem = f"GET /stats looks different ({type(error).__name__}: {printable(error, most=200)})"
            raise ForeignError(self._remote.url, problem) from error
        if anew:
            self._trends.add({tile.name: tile.number for tile in picture.tiles})
        past = {tile.name: self._trends.of(tile.name) for tile in picture.tiles}
        self.picture = picture._replace(past=past)


class Viewer:
    """Shows a server between two looks, as the keys say.

    Args:
        watched: The server.
        canvas: Shows it.
        wait: Waits for at most so many seconds; returns keys that were pressed meanwhile, or nothing.
        keys: Whether there is a keyboard, so that the foot names the keys.
    """

    def __init__(self, watched: Watch, canvas: Canvas, wait: Callable[[float], str | None], *, keys: bool) -> None:
        self._watched = watched
        self._canvas = canvas
        self._wait = wait
        self._keys = keys
        self.paused = False

    def show(self) -> None:
        """Shows the latest picture."""
        picture = self._watched.picture
        if picture is not None and self._keys:
            state = "paused: p goes on" if self.paused else "p pause"
            picture = picture._replace(foot=f"q quit   {state}   s sort: {picture.sort}")
        self._canvas.show(picture, self._watched.trouble)

    def rest(self, seconds: float) -> bool:
        """Waits for the next look, and obeys the keys meanwhile; returns whether to go on."""
        until, left = time.monotonic() + seconds, seconds
        while left > 0:
            pressed = self._wait(left)
            if not pressed:
                return True
            if not self._obey(pressed):
                return False
            self.show()
            left = until - time.monotonic()
        return True

    def _obey(self, pressed: str) -> bool:
        for key in pressed:
            if key in "qQ\x04":  # Ctrl-D, too
                return False
            if key in "p ":
                self.paused = not self.paused
            elif key in "sS":
                self._watched.order(1 if key == "s" else -1)
        return True


def watch(
    remote: Remote,
    canvas: Canvas,
    *,
    interval_seconds: float,
    wait: Callable[[float], str | None],
    keys: bool = False,
) -> None:
    """Shows the server until the process is interrupted, or a key quits. `wait` and `keys` are those of `Viewer`.

    Raises:
        RemoteError: The answer is of no Fanwise server, or refuses the key.
    """
    watched = Watch(remote)
    watched.look()  # before the screen is taken: what ends the command is to be read
    viewer = Viewer(watched, canvas, wait, keys=keys)
    with canvas:
        viewer.show()
        while viewer.rest(interval_seconds):
            if not viewer.paused:
                watched.look()
            viewer.show()


def glance(remote: Remote, canvas: Canvas, *, interval_seconds: float, wait: Callable[[float], str | None]) -> None:
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

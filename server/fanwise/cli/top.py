"""`fanwise top`: a loop that asks a server again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol, Self, TextIO

import click

from ..tools.humanize import printable
from ..tools.rates import Document, between
from ..tools.remote import ForeignError, Remote, RemoteError, UnreachableError
from ..tools.top.picture import Picture, paint
from ..tools.top.plain import Lines
from .interrupts import interrupt_on_signals

FAILED = 1


class MissingExtraError(Exception):
    """The extra that draws on a terminal is not installed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"{self.name} is missing: pip install 'fanwise[top]', or have plain text with --once or a pipe"


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
        document = self._remote.stats()
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


@click.command()
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Where the server is.")
@click.option("--api-key", envvar="FANWISE_API_KEY", help="The server's key.  [FANWISE_API_KEY]")
@click.option(
    "--interval-seconds",
    type=click.FloatRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    help="How often to look.",
)
@click.option("--once", is_flag=True, help="Print the numbers of one interval as text, and end.")
def top(url: str, api_key: str | None, interval_seconds: float, *, once: bool) -> None:
    """Watch a running server: rates, who is furthest behind, channels, who was closed and why.

    On a terminal it needs an extra, 'fanwise[top]'; elsewhere it prints text. Ctrl-C ends it, with status 0; the status
    is 1 when there is no Fanwise server, or it asks for another key.
    """
    interrupt_on_signals()  # or the terminal would stay as it is
    try:
        remote = Remote(url, api_key=api_key)
        show = glance if once else watch
        show(
            remote,
            Lines(sys.stdout) if once else _canvas(sys.stdout),
            interval_seconds=interval_seconds,
            wait=time.sleep,
        )
    except KeyboardInterrupt:
        sys.exit(0)
    except (RemoteError, MissingExtraError) as error:
        click.echo(f"fanwise top: {error}", err=True)
        sys.exit(FAILED)


def _canvas(stream: TextIO) -> Canvas:
    if not stream.isatty():
        return Lines(stream)
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra that only this command needs

        from ..tools.top.screen import Screen  # noqa: PLC0415 - imported late
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "rich") from error
    return Screen(Console(file=stream))

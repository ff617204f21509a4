"""`fanwise top`: a server's numbers, on a terminal or as text."""

from __future__ import annotations

import sys
import time
from typing import TextIO

import click

from ..core.roles import Role, key_with
from ..tools.remote import Remote, RemoteError
from ..tools.top.plain import Lines
from ..tools.top.watch import Canvas, glance, watch
from .interrupts import interrupt_on_signals

FAILED = 1


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

    On a terminal q quits, p pauses, and s and S change the order of the clients. Pipes and files receive text.
    Ctrl-C ends the command with status 0, too; the status is 1 without a Fanwise server, or with a wrong key.
    """
    interrupt_on_signals()  # or the terminal would stay as it is
    try:
        remote = Remote(url, api_key=key_with(Role.OPERATE, api_key))
        if once:
            glance(remote, Lines(sys.stdout), interval_seconds=interval_seconds, wait=time.sleep)
        else:
            _watch(remote, interval_seconds)
    except KeyboardInterrupt:
        sys.exit(0)
    except RemoteError as error:
        click.echo(f"fanwise top: {error}", err=True)
        sys.exit(FAILED)


def _watch(remote: Remote, interval_seconds: float) -> None:
    """Draws on a terminal, and obeys its keys; prints elsewhere."""
    canvas = _canvas(sys.stdout)
    if isinstance(canvas, Lines) or not sys.stdin.isatty():
        watch(remote, canvas, interval_seconds=interval_seconds, wait=time.sleep)
        return
    from ..tools.top.keys import Keys  # noqa: PLC0415 - not on Windows

    with Keys(sys.stdin) as keys:
        watch(remote, canvas, interval_seconds=interval_seconds, wait=keys.wait, keys=True)


def _canvas(stream: TextIO) -> Canvas:
    if not stream.isatty():
        return Lines(stream)
    from rich.console import Console  # noqa: PLC0415 - imported late

    from ..tools.top.screen import Screen  # noqa: PLC0415 - imported late

    return Screen(Console(file=stream))

"""Shared by `publish` and `subscribe`: the flags of a server, a client for it, and the end of the command."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import click

from ..client.client import FanwiseClient
from ..core.publication import check_channel_name
from ..errors import FanwiseError, InputError
from .interrupts import INTERRUPTED

FAILED, USAGE = 1, 2  # exit statuses; click exits with 2 as well


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags of a server: URL and key."""
    key = click.option("--api-key", envvar="FANWISE_API_KEY", help="The server's key.  [FANWISE_API_KEY]")
    url = click.option("--url", default="ws://127.0.0.1:8000/ws", show_default=True, help="Where the server is.")
    return url(key(command))


def make_client(*channels: str, url: str, api_key: str | None, acknowledge_seconds: float | None) -> FanwiseClient:
    """A client for the server at `url`; not connected yet.

    Raises:
        click.UsageError: The URL, the key or the name of a channel cannot be used.
    """
    if not url.startswith(("ws://", "wss://")):
        raise click.UsageError(f"--url: {url!r} must begin with ws:// or wss://")
    try:
        for channel in channels:
            check_channel_name(channel)
        return FanwiseClient(url, api_key=api_key, acknowledge_seconds=acknowledge_seconds)
    except ValueError as error:  # a ChannelNameError is one
        raise click.UsageError(str(error)) from error


def log_to_stderr(level: int) -> None:
    """Sends what the client logs, from `level` on, to the standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("fanwise: %(message)s"))
    logger = logging.getLogger("fanwise.client")
    logger.addHandler(handler)
    logger.setLevel(level)


def run_to_exit(command: Coroutine[Any, Any, int]) -> NoReturn:
    """Runs `command` until SIGINT or SIGTERM, and exits with the status that `command` returns.

    A `FanwiseError` is printed; the status is then 2 for bad input, and 1 for anything else.
    """

    async def interruptible() -> int:
        task = asyncio.ensure_future(command)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            return INTERRUPTED
        except FanwiseError as error:
            say(str(error))
            return USAGE if isinstance(error, InputError) else FAILED

    sys.exit(asyncio.run(interruptible()))


def say(sentence: str) -> None:
    """Prints a sentence to the standard error."""
    click.echo(f"fanwise: {sentence}", err=True)

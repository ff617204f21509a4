"""Shared by `publish` and `subscribe`: the flags of a server, a client for it, and the end of the command."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from ..client.client import FanwiseClient
from ..core.publication import check_channel_name
from ..core.roles import Role, key_with
from ..errors import FanwiseError, InputError
from .interrupts import INTERRUPTED

FAILED, USAGE = 1, 2  # exit statuses; click exits with 2 as well


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags of a server: URL, key and token."""
    text = "The user's token, or @FILE, which is read anew when a token is needed.  [FANWISE_TOKEN]"
    token = click.option("--token", metavar="TOKEN|@FILE", envvar="FANWISE_TOKEN", callback=_hint, help=text)
    key = click.option("--api-key", envvar="FANWISE_API_KEY", help="The server's key.  [FANWISE_API_KEY]")
    url = click.option("--url", default="ws://127.0.0.1:8000/ws", show_default=True, help="Where the server is.")
    return url(key(token(command)))


def _hint(context: click.Context, parameter: click.Parameter, token: str | None) -> str | None:
    """Returns the token; says how to hide one that stands in the command line."""
    given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    if given and token is not None and not token.startswith("@"):
        say("everyone on this machine can read --token in the list of processes: use --token @FILE or FANWISE_TOKEN")
    return token


def read_filter(_context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, list[str]]:
    """Returns {tag: its values} of a flag that may be given several times, as TAG:VALUE."""
    wanted: dict[str, list[str]] = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not name or not colon:
            raise click.BadParameter(f"{text!r} must be TAG:VALUE", param=parameter)
        wanted.setdefault(name, []).append(value)
    return wanted


def read_tags(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Returns {tag: its one value} of a flag that may be given several times, as TAG:VALUE."""
    read = read_filter(context, parameter, texts)
    for name, values in read.items():
        if len(values) > 1:
            given = " and ".join(map(repr, values))
            raise click.BadParameter(f"the tag {name!r} has one value, not {given}", param=parameter)
    return {name: values[0] for name, values in read.items()}


def make_client(
    *channels: str, url: str, api_key: str | None, token: str | None, acknowledge_seconds: float | None
) -> FanwiseClient:
    """A client for the server at `url`; not connected yet.

    Raises:
        click.UsageError: The URL, the key, the token or the name of a channel cannot be used.
    """
    if not url.startswith(("ws://", "wss://")):
        raise click.UsageError(f"--url: {url!r} must begin with ws:// or wss://")
    try:
        for channel in channels:
            check_channel_name(channel)
        own = key_with(Role.READ if acknowledge_seconds is None else Role.PUBLISH, api_key)
        key = own if token is None else None  # a token says more, and the key may stand in the environment
        return FanwiseClient(url, api_key=key, token=read_token(token), acknowledge_seconds=acknowledge_seconds)
    except ValueError as error:  # a ChannelNameError is one
        raise click.UsageError(str(error)) from error


def read_token(token: str | None) -> str | Callable[[], str] | None:
    """Returns a token, or for @FILE a function that reads the file, which exists now.

    Raises:
        ValueError: The file cannot be read.
    """
    if token is None or not token.startswith("@"):
        return token
    path = Path(token[1:])

    def read() -> str:
        return path.read_text(encoding="ascii").strip()

    try:
        read()
    except OSError as error:
        raise ValueError(f"--token: cannot read {str(path)!r}: {error.strerror}") from error
    return read


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

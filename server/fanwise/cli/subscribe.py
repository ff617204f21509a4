"""`fanwise subscribe`: the messages of channels on the standard output."""

from __future__ import annotations

import asyncio
import base64
import logging
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import click
import orjson

from ..client.client import FanwiseClient, Message
from ..core.publication import Position
from ..errors import PositionError
from .client import connection_options, log_to_stderr, make_client, read_filter, run_to_exit, say
from .interrupts import INTERRUPTED
from .pipes import write


@click.command()
@click.argument("channels", metavar="CHANNEL...", nargs=-1, required=True)
@click.option("--since", metavar="EPOCH:OFFSET", help="Begin after this position; for one channel.")
@click.option("--last", type=click.IntRange(min=0), help="Begin so many messages before the newest.")
@click.option(
    "--filter",
    "wanted",
    metavar="TAG:VALUE",
    multiple=True,
    callback=read_filter,
    help="Only messages with this tag; of one tag any of several values, of several tags all.",
)
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many messages.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print whole messages as JSON: channel, epoch, offset, data, key, tags."
)
@connection_options
def subscribe(
    channels: tuple[str, ...],
    since: str | None,
    last: int | None,
    wanted: dict[str, list[str]],
    count: int | None,
    as_json: bool,
    **where: Any,
) -> None:
    """Print the messages of the channels, one payload per line: text as it is, JSON as JSON, binary in base64.

    The command reconnects by itself; gaps and reconnects are printed to the standard error. Ctrl-C ends it, with status
    0 unless --count is not reached.
    """
    try:
        position = None if since is None else Position.parse(since)
    except PositionError as error:
        raise click.UsageError(f"--since: {error}") from error
    if since is not None and len(channels) > 1:
        raise click.UsageError("--since is a position in one channel: subscribe to one, or leave it out")
    if since is not None and last is not None:
        raise click.UsageError("--since and --last are two places to begin at: give one")
    log_to_stderr(logging.INFO)
    client = make_client(*channels, **where, acknowledge_seconds=None)
    begin = partial(client.subscribe, since=position, last=last, filter=wanted)
    run_to_exit(_follow(client, begin, channels, count=count, as_json=as_json))


async def _follow(
    client: FanwiseClient,
    begin: Callable[[str], Awaitable[Position]],
    channels: tuple[str, ...],
    *,
    count: int | None,
    as_json: bool,
) -> int:
    async def ask(channel: str) -> None:
        say(f"{channel}: after {await begin(channel)}")

    async with client:
        # Beside each other: a channel that floods must not keep the next one from its answer.
        asking = asyncio.gather(*(ask(channel) for channel in dict.fromkeys(channels)))
        printing = asyncio.create_task(_print(client, count=count, as_json=as_json))
        try:
            both: list[asyncio.Future[Any]] = [asking, printing]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not printing.done():
                await asking
            return await printing
        except asyncio.CancelledError:
            return 0 if count is None else INTERRUPTED
        finally:
            asking.cancel()
            printing.cancel()
            await asyncio.gather(asking, printing, return_exceptions=True)


async def _print(client: FanwiseClient, *, count: int | None, as_json: bool) -> int:
    seen = 0
    try:
        async for message in client:
            await write(sys.stdout.fileno(), _line(message, as_json=as_json))
            seen += 1
            if seen == count:
                break
    except BrokenPipeError:  # who read has seen enough
        pass
    return 0


def _line(message: Message, *, as_json: bool) -> bytes:
    data = message.data
    binary = isinstance(data, bytes)
    if binary:
        data = base64.b64encode(data).decode()
    if not as_json:
        return (data.encode() if isinstance(data, str) else orjson.dumps(data)) + b"\n"
    fields = {"channel": message.channel, "epoch": message.epoch, "offset": message.offset, "data": data}
    if message.key is not None:
        fields["key"] = message.key
    if message.tags is not None:
        fields["tags"] = message.tags
    if binary:
        fields["encoding"] = "base64"
    return orjson.dumps(fields) + b"\n"

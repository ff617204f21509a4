"""`fanwise publish`: messages from the command line or the standard input."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias

import click

from ..client.client import FanwiseClient
from ..core.publication import Position
from ..errors import FanwiseError
from .client import FAILED, connection_options, log_to_stderr, make_client, read_tags, run_to_exit, say
from .pipes import lines, messages, single, write

_IN_FLIGHT = 256  # publishes without an answer

_Send: TypeAlias = Callable[[Any], Coroutine[Any, Any, Position]]


@click.command()
@click.argument("channel")
@click.argument("text", required=False)
@click.option("--json", "as_json", is_flag=True, help="TEXT, or each line, is a JSON value.")
@click.option("--key", help="What the message is the newest state of.")
@click.option("--tag", "tags", metavar="TAG:VALUE", multiple=True, callback=read_tags, help="A tag of the message.")
@click.option("--quiet", is_flag=True, help="Print no positions.")
@click.option("--wait-seconds", default=10.0, show_default=True, help="How long an answer may take.")
@connection_options
def publish(
    channel: str,
    text: str | None,
    as_json: bool,
    key: str | None,
    tags: dict[str, str],
    quiet: bool,
    wait_seconds: float,
    **where: Any,
) -> None:
    """Publish TEXT, or with - or a pipe each line of the standard input, and print each position as EPOCH:OFFSET.

    The status is 0 if everything was published, 1 if a message was refused or not confirmed, and 2 if the input cannot
    be published.
    """
    if text is None and sys.stdin.isatty():
        raise click.UsageError("give a TEXT, or - to read lines from the terminal")
    log_to_stderr(logging.WARNING)
    client = make_client(channel, **where, acknowledge_seconds=wait_seconds)
    source = lines(sys.stdin.fileno()) if text in (None, "-") else single(text or "")
    send = partial(client.publish, channel, key=key, tags=tags)
    run_to_exit(_publish(client, send, messages(source, as_json=as_json), quiet=quiet))


async def _publish(client: FanwiseClient, send: _Send, messages: AsyncIterator[Any], *, quiet: bool) -> int:
    async with client:
        return await _Publishing(send, quiet=quiet).run(messages)


class _Publishing:
    """Publishes messages without waiting for the answers in between; reports them in order; ends at a failure."""

    def __init__(self, send: _Send, *, quiet: bool) -> None:
        self._send = send
        self._quiet = quiet
        self._sent: deque[asyncio.Task[Position]] = deque()
        self._places = asyncio.Semaphore(_IN_FLIGHT)
        self._news = asyncio.Event()
        self._reported = 0
        self._failed = 0

    async def run(self, messages: AsyncIterator[Any]) -> int:
        """Returns the exit status."""
        feeding = asyncio.create_task(self._feed(messages))
        feeding.add_done_callback(lambda _: self._news.set())
        try:
            await self._report_all(feeding)
            if not feeding.cancelled():
                feeding.result()  # raises what was wrong with the input
        finally:
            feeding.cancel()
            for publication in self._sent:
                publication.cancel()
            await asyncio.wait([feeding, *self._sent])
            if self._sent:  # interrupted
                say(f"{len(self._sent)} messages more may or may not have been published")
        if self._failed > 1:
            say(f"{self._failed - 1} of the messages sent meanwhile were not published, or not confirmed")
        return FAILED if self._failed else 0

    async def _feed(self, messages: AsyncIterator[Any]) -> None:
        async for data in messages:
            await self._places.acquire()
            self._sent.append(asyncio.create_task(self._send(data)))
            self._news.set()

    async def _report_all(self, feeding: asyncio.Task[None]) -> None:
        while self._sent or not feeding.done():
            if self._sent:
                await self._report(self._sent[0])
            else:
                self._news.clear()
                await self._news.wait()
            if self._failed:
                feeding.cancel()

    async def _report(self, publication: asyncio.Task[Position]) -> None:
        await asyncio.wait([publication])
        self._sent.popleft()
        self._places.release()
        self._reported += 1
        error = publication.exception()
        if isinstance(error, FanwiseError):
            self._failed += 1
            if self._failed == 1:
                say(f"message {self._reported}: {error}")
            return
        position = publication.result()
        if not self._quiet:
            try:
                await write(sys.stdout.fileno(), f"{position}\n".encode())
            except BrokenPipeError:  # positions have no reader any more; the messages are still to be published
                self._quiet = True

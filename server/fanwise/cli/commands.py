"""`fanwise publish` and `fanwise subscribe`: the Python client on the command line."""

from __future__ import annotations

import asyncio
import base64
import logging
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NoReturn

import click
import orjson

from ..client.client import FanwiseClient, Message
from ..core.publication import Position, check_channel_name
from ..errors import FanwiseError, InputError, PositionError
from .pipes import lines, messages, single, write

FAILED, USAGE, INTERRUPTED = 1, 2, 130  # exit statuses; click exits with 2 as well, shells make 130 of SIGINT

_IN_FLIGHT = 256  # publishes without an answer


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags that say where the server is."""
    key = click.option("--api-key", envvar="FANWISE_API_KEY", help="The server's key.  [FANWISE_API_KEY]")
    url = click.option("--url", default="ws://127.0.0.1:8000/ws", show_default=True, help="Where the server is.")
    return url(key(command))


@click.command()
@click.argument("channel")
@click.argument("text", required=False)
@click.option("--json", "as_json", is_flag=True, help="TEXT, or each line, is a JSON value.")
@click.option("--key", help="What the message is the newest state of.")
@click.option("--quiet", is_flag=True, help="Print no positions.")
@click.option("--wait-seconds", default=10.0, show_default=True, help="How long an answer may take.")
@connection_options
def publish(
    channel: str, text: str | None, as_json: bool, key: str | None, quiet: bool, wait_seconds: float, **where: Any
) -> None:
    """Publish TEXT, or with - or a pipe each line of the standard input, and print each position as EPOCH:OFFSET.

    The status is 0 if everything was published, 1 if something was not, or may not have been, and 2 if what was given
    cannot be published.
    """
    if text is None and sys.stdin.isatty():
        raise click.UsageError("give a TEXT, or - to read lines from the terminal")
    _log_to_stderr(logging.WARNING)
    client = _client(channel, **where, acknowledge_seconds=wait_seconds)
    source = lines(sys.stdin.fileno()) if text in (None, "-") else single(text or "")
    _run(_publish(client, channel, messages(source, as_json=as_json), key=key, quiet=quiet))


@click.command()
@click.argument("channels", metavar="CHANNEL...", nargs=-1, required=True)
@click.option("--since", metavar="EPOCH:OFFSET", help="Begin after this position; for one channel.")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many messages.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print whole messages as JSON: channel, epoch, offset, data, key."
)
@connection_options
def subscribe(channels: tuple[str, ...], since: str | None, count: int | None, as_json: bool, **where: Any) -> None:
    """Print the messages of the channels, one payload per line: text as it is, JSON as JSON, binary in base64.

    It reconnects by itself; gaps and reconnects are told on the standard error. Ctrl-C ends it, with status 0 unless
    --count is not reached.
    """
    try:
        position = None if since is None else Position.parse(since)
    except PositionError as error:
        raise click.UsageError(f"--since: {error}") from error
    if since is not None and len(channels) > 1:
        raise click.UsageError("--since is a position in one channel: subscribe to one, or leave it out")
    _log_to_stderr(logging.INFO)
    client = _client(*channels, **where, acknowledge_seconds=None)
    _run(_follow(client, dict.fromkeys(channels, position), count=count, as_json=as_json))


def _client(*channels: str, url: str, api_key: str | None, acknowledge_seconds: float | None) -> FanwiseClient:
    if not url.startswith(("ws://", "wss://")):
        raise click.UsageError(f"--url: {url!r} must begin with ws:// or wss://")
    try:
        for channel in channels:
            check_channel_name(channel)
        return FanwiseClient(url, api_key=api_key, acknowledge_seconds=acknowledge_seconds)
    except ValueError as error:  # a ChannelNameError is one
        raise click.UsageError(str(error)) from error


def _log_to_stderr(level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("fanwise: %(message)s"))
    logger = logging.getLogger("fanwise.client")
    logger.addHandler(handler)
    logger.setLevel(level)


def _run(command: Coroutine[Any, Any, int]) -> NoReturn:
    """Runs it until it ends or is interrupted, and exits with its status."""

    async def interruptible() -> int:
        task = asyncio.ensure_future(command)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            return INTERRUPTED
        except FanwiseError as error:
            _say(str(error))
            return USAGE if isinstance(error, InputError) else FAILED

    sys.exit(asyncio.run(interruptible()))


class _Publishing:
    """Publishes messages without waiting for the answers in between, and reports them in order. Ends at a failure."""

    def __init__(self, client: FanwiseClient, channel: str, *, key: str | None, quiet: bool) -> None:
        self._client = client
        self._channel = channel
        self._key = key
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
                _say(f"{len(self._sent)} messages more may or may not have been published")
        if self._failed > 1:
            _say(f"{self._failed - 1} of the messages sent meanwhile were not published, or not confirmed")
        return FAILED if self._failed else 0

    async def _feed(self, messages: AsyncIterator[Any]) -> None:
        async for data in messages:
            await self._places.acquire()
            self._sent.append(asyncio.create_task(self._client.publish(self._channel, data, key=self._key)))
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
                _say(f"message {self._reported}: {error}")
            return
        position = publication.result()
        if not self._quiet:
            try:
                await write(sys.stdout.fileno(), f"{position}\n".encode())
            except BrokenPipeError:  # nobody wants to know; what is to be published is still to be published
                self._quiet = True


async def _publish(
    client: FanwiseClient, channel: str, messages: AsyncIterator[Any], *, key: str | None, quiet: bool
) -> int:
    async with client:
        return await _Publishing(client, channel, key=key, quiet=quiet).run(messages)


async def _follow(
    client: FanwiseClient, channels: dict[str, Position | None], *, count: int | None, as_json: bool
) -> int:
    async def ask(channel: str, since: Position | None) -> None:
        _say(f"{channel}: after {await client.subscribe(channel, since=since)}")

    async with client:
        # Beside each other: a channel that floods must not keep the next one from its answer.
        asking = asyncio.gather(*(ask(channel, since) for channel, since in channels.items()))
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
    if binary:
        fields["encoding"] = "base64"
    return orjson.dumps(fields) + b"\n"


def _say(sentence: str) -> None:
    click.echo(f"fanwise: {sentence}", err=True)

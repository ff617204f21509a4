"""`fanwise trace`: a running server's publications and slow clients, for some seconds, into a file."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final

import click

from ..core.roles import Role, key_with
from ..core.trace import ChannelSeen, Ended, FellBehind, Header, Published, Record
from ..core.trace_reader import read_trace
from ..errors import TraceError
from ..tools.bench.errors import OptionError
from ..tools.bench.options import check_file, parse_seconds
from ..tools.remote import PATIENCE_SECONDS, ForeignError, Remote, RemoteError
from .interrupts import INTERRUPTED, interrupt_on_signals

FAILED, BAD_OPTION = 1, 2
_MOST_SECONDS: Final = 600  # of the route
_MOST_BYTES: Final = 80 << 20  # of an answer; the route's own bound is lower
_PATH = "/trace"
_ENDS: Final = {
    "slow": "this reader did not keep up",
    "expired": "the token of this reader has expired",
    "bytes": "it has as many bytes as a trace may have",
    "stopped": "the server stops",
}


class FileError(Exception):
    """The file cannot be written."""


@click.command()
@click.option(
    "--for", "duration", default="60s", show_default=True, metavar="TIME", help="Its length: 5, 500ms, 2m; at most 10m."
)
@click.option("--out", default="fanwise.trace", show_default=True, metavar="FILE", help="The file; - is stdout.")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Where the server is.")
@click.option("--api-key", envvar="FANWISE_API_KEY", help="The server's key.  [FANWISE_API_KEY]")
def trace(duration: str, out: str, url: str, api_key: str | None) -> None:
    """Record a running server: publications with time, size and channel, and clients while they are behind.

    The file has no payload, no key and no address. `fanwise tune --trace FILE` replays it. Ends with 0 for a whole
    trace; with 1 without a Fanwise server or its key, or if the trace is shorter: what has come is in the file. With 2
    when an option is wrong; with 130 after Ctrl-C.
    """
    interrupt_on_signals()
    try:
        seconds = _length(duration)
        remote = Remote(url, api_key=key_with(Role.OPERATE, api_key), patience_seconds=seconds + PATIENCE_SECONDS)
        if out == "-":
            sys.exit(_record(remote, seconds, sys.stdout.buffer, out))
        check_file("--out", out)
        with Path(out).open("wb") as file:
            sys.exit(_record(remote, seconds, file, out))
    except OptionError as error:
        _say(str(error))
        sys.exit(BAD_OPTION)
    except (RemoteError, FileError) as error:
        _say(str(error))
        sys.exit(FAILED)
    except OSError as error:
        _say(f"{out} cannot be written: {error.strerror}")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        _say(f"interrupted; what has come is in {out}")
        sys.exit(INTERRUPTED)


def _length(duration: str) -> float:
    seconds = parse_seconds("--for", duration)
    if seconds > _MOST_SECONDS:
        raise OptionError("--for", duration, "10m at most")
    return seconds


def _record(remote: Remote, seconds: float, file: BinaryIO, name: str) -> int:
    """Writes the trace; returns the exit status."""
    counts: Counter[str] = Counter()
    last: Header | Record | None = None
    try:
        for last in read_trace(_bytes(remote, seconds, file, counts)):
            counts[type(last).__name__] += 1
    except TraceError as error:
        if last is None:
            raise ForeignError(remote.url, f"what it sends is no trace: {error}") from error
        _say(f"the trace was cut {error}")
    at = 0.0 if last is None or isinstance(last, Header) else last.at
    behind, channels = counts[FellBehind.__name__], counts[ChannelSeen.__name__]
    _say(
        f"{name}: {at:.1f} s, {counts[Published.__name__]:,} publications on {channels:,} channels, "
        f"{behind:,} times behind; {counts['bytes']:,} bytes, {counts['bytes'] / max(at, 1e-3):,.0f} a second"
    )
    if isinstance(last, Ended) and last.reason == "asked":
        return 0
    _say(f"it ends early: {_ENDS.get(last.reason, last.reason) if isinstance(last, Ended) else 'the connection broke'}")
    return FAILED


def _bytes(remote: Remote, seconds: float, file: BinaryIO, counts: Counter[str]) -> Iterator[bytes]:
    """Yields the bytes of the trace, once they are in the file."""
    with remote.asking("GET", f"{_PATH}?seconds={seconds:g}", headers={"Connection": "close"}) as answer:
        if answer.status != HTTPStatus.OK:
            raise remote.refusal(f"GET {_PATH}", answer.status, answer.read_body(most_bytes=_MOST_BYTES))
        for part in answer.parts(most_bytes=_MOST_BYTES):
            try:
                file.write(part)
                file.flush()
            except OSError as error:
                raise FileError(f"the trace cannot be written: {error.strerror}") from error
            counts["bytes"] += len(part)
            yield part


def _say(text: str) -> None:
    click.echo(f"fanwise trace: {text}", err=True)

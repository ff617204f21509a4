"""Standard input and output of a program that has an event loop to keep turning."""

from __future__ import annotations

import asyncio
import json
import os
import select
from collections.abc import AsyncIterator
from typing import Any, NoReturn

from ..errors import InputError

_READ_BYTES = 65_536
_WRITE_BYTES = 4096  # PIPE_BUF on Linux: a pipe that poll() calls writable takes so much without blocking

# Far above what a server takes, so that it is the server's limit that people get to see.
LINE_BYTES = 4_194_304


async def single(text: str) -> AsyncIterator[bytes]:
    """Yields one line, from the command line."""
    yield text.encode(errors="surrogateescape")  # the bytes as they stood on the command line


async def lines(fd: int) -> AsyncIterator[bytes]:
    """Yields the lines of a file, a pipe or a terminal without newlines; holds one chunk and one line.

    Raises:
        InputError: A line is longer than LINE_BYTES.
    """
    rest = b""
    while chunk := await _read(fd):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > LINE_BYTES:
            raise InputError(f"a line has more than {LINE_BYTES} bytes")
    if rest:
        yield rest


async def messages(lines: AsyncIterator[bytes], *, as_json: bool) -> AsyncIterator[Any]:
    """Yields the messages in lines: texts, or JSON values.

    Raises:
        InputError: A line is not UTF-8, or not JSON.
    """
    number = 0
    async for line in lines:
        number += 1
        try:
            text = line.decode()
            yield json.loads(text, parse_constant=_refuse) if as_json else text
        except (ValueError, RecursionError) as error:
            what = "JSON" if as_json else "text in UTF-8"
            raise InputError(f"message {number} is not {what}: {error}") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")


async def _read(fd: int) -> bytes:
    """Returns the next bytes as soon as there are any; empty at the end."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except PermissionError:  # a regular file: always ready
        return os.read(fd, _READ_BYTES)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
    return os.read(fd, _READ_BYTES)


async def write(fd: int, data: bytes) -> None:
    """Writes to a file, a pipe or a terminal without holding up the event loop, which has pings to answer.

    Raises:
        BrokenPipeError: The reader has closed the pipe.
    """
    view = memoryview(data)
    while view:
        if not select.select([], [fd], [], 0)[1]:
            await _writable(fd)
        view = view[os.write(fd, view[:_WRITE_BYTES]) :]


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(fd, ready.set)  # select() calls regular files writable: epoll never gets one
    try:
        await ready.wait()
    finally:
        loop.remove_writer(fd)

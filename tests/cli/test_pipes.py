from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanwise.cli.pipes import LINE_BYTES, lines, messages, single, write
from fanwise.errors import InputError

pytestmark = pytest.mark.anyio


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """(where to read, where to write)."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:  # the test has closed it
            continue


async def drain(source: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in source]


async def test_lines_come_when_they_are_there(pipe: tuple[int, int]) -> None:
    """Not when the pipe is closed, or full; the loop turns meanwhile."""
    source = lines(pipe[0])
    os.write(pipe[1], b"one\ntw")
    assert await anext(source) == b"one"
    second = asyncio.ensure_future(anext(source))
    await asyncio.sleep(0)
    assert not second.done()
    os.write(pipe[1], b"o\n\nlast")
    assert await second == b"two"
    os.close(pipe[1])
    assert await drain(source) == [b"", b"last"]


async def test_lines_of_a_file(tmp_path: Path) -> None:
    """What an event loop cannot wait for is read as it is; a last line without newline counts."""
    path = tmp_path / "input"
    path.write_bytes(b"x" * 200_000 + b"\n\r\nlast")
    with path.open("rb") as file:
        assert await drain(lines(file.fileno())) == [b"x" * 200_000, b"\r", b"last"]


async def test_nothing_is_no_line() -> None:
    """Also where the end is no event."""
    fd = os.open(os.devnull, os.O_RDONLY)
    assert await drain(lines(fd)) == []
    os.close(fd)


async def test_a_line_without_end(tmp_path: Path) -> None:
    """Memory is bounded: it is given up."""
    path = tmp_path / "input"
    path.write_bytes(b"ok\n" + b"x" * (LINE_BYTES + 100_000))
    with path.open("rb") as file:
        source = lines(file.fileno())
        assert await anext(source) == b"ok"
        with pytest.raises(InputError, match=f"more than {LINE_BYTES} bytes"):
            await anext(source)


async def test_messages_are_text() -> None:
    """In UTF-8, and what is not is named by its number."""

    async def source() -> AsyncIterator[bytes]:
        yield "h\u00e9".encode()
        yield b"\xff"

    read = messages(source(), as_json=False)
    assert await anext(read) == "h\u00e9"
    with pytest.raises(InputError, match="message 2 is not text in UTF-8"):
        await anext(read)


async def test_messages_are_json() -> None:
    """Values of all kinds."""
    assert await drain(messages(single('{"a":[1,null]}'), as_json=True)) == [{"a": [1, None]}]


@pytest.mark.parametrize("text", ["", "{", "NaN", "[1,-Infinity]", "[" * 100_000])
async def test_what_is_no_json(text: str) -> None:
    """It is refused here, where its place is known."""
    with pytest.raises(InputError, match="message 1 is not JSON"):
        await drain(messages(single(text), as_json=True))


async def test_what_stood_on_the_command_line_is_checked_too() -> None:
    """Python hands us bytes that are no UTF-8 as surrogates."""
    with pytest.raises(InputError, match="not text in UTF-8"):
        await drain(messages(single("\udcff"), as_json=False))


async def test_writing_does_not_hold_the_loop(pipe: tuple[int, int]) -> None:
    """A pipe that is full makes the writer wait, and nobody else; the bytes come in order."""
    data = bytes(range(256)) * 4096
    writing = asyncio.create_task(write(pipe[1], data))
    await asyncio.sleep(0)
    assert not writing.done()
    got = b""
    os.set_blocking(pipe[0], False)
    while len(got) < len(data):
        with contextlib.suppress(BlockingIOError):
            got += os.read(pipe[0], 65_536)
        await asyncio.sleep(0)
    await writing
    assert got == data


async def test_writing_to_nobody(pipe: tuple[int, int]) -> None:
    """It is said, also to who waits already."""
    writing = asyncio.create_task(write(pipe[1], b"x" * 1_000_000))
    await asyncio.sleep(0)
    os.close(pipe[0])
    with pytest.raises(BrokenPipeError):
        await writing


async def test_writing_to_a_file(tmp_path: Path) -> None:
    """What an event loop cannot wait for is written as it is."""
    path = tmp_path / "output"
    with path.open("wb") as file:
        await write(file.fileno(), b"x" * 10_000)
    assert path.read_bytes() == b"x" * 10_000

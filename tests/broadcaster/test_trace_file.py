"""A trace into a file, as long as a node runs."""

from __future__ import annotations

from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from fanwise.broadcaster import trace_file
from fanwise.broadcaster.trace_file import _append, traced
from fanwise.core.trace import Ended, Published
from fanwise.core.trace_reader import read_trace

from ..support.live import until
from .test_recorder import staged

pytestmark = pytest.mark.anyio


async def test_the_file_has_the_whole_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And a line of the log says how it ended."""
    caplog.set_level("INFO")
    path = tmp_path / "a.trace"
    path.write_bytes(b"of another run")
    async with staged() as node, traced(node.recordings, str(path)):
        for _ in range(5):
            node.publish_nowait("a", b"x")
    records = list(read_trace([path.read_bytes()]))
    assert sum(isinstance(record, Published) for record in records) == 5
    assert isinstance(records[-1], Ended)
    assert records[-1].reason == "stopped"
    assert f"the trace in {path} has ended with {path.stat().st_size} bytes: stopped" in caplog.text


async def test_a_full_file_ends_the_trace_and_not_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is in the file is whole until there."""
    caplog.set_level("INFO")
    monkeypatch.setattr(trace_file, "FILE_BYTES", 10_000)
    path = tmp_path / "a.trace"
    async with staged() as node, traced(node.recordings, str(path)):
        while node.recordings.active:
            for size in range(1000):
                node.publish_nowait("a", bytes(size))
            await node._audit.once()
        await until(lambda: "bytes: bytes" in caplog.text)
        node.publish_nowait("a", b"x")
    last = list(read_trace([path.read_bytes()]))[-1]
    assert isinstance(last, Ended)
    assert last.reason == "bytes"


class Short(FileIO):
    """A file that takes three bytes at a time."""

    def write(self, data: Any) -> int:
        return super().write(data[:3])


def test_a_file_that_takes_a_part_gets_the_rest(tmp_path: Path) -> None:
    """In its order."""
    with Short(tmp_path / "a", "wb") as file:
        _append(file, b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


async def test_a_full_disk_ends_the_trace_and_not_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """The error is logged."""
    async with staged() as node, traced(node.recordings, "/dev/full"):
        node.publish_nowait("a", b"x")
        await until(lambda: node.recordings.active == ())
    assert "the trace in /dev/full cannot be written" in caplog.text


async def test_a_file_that_cannot_be_opened_is_an_error() -> None:
    """At once: nothing is recorded."""
    async with staged() as node:
        with pytest.raises(FileNotFoundError):
            async with traced(node.recordings, "/nowhere/a.trace"):
                pass
        assert node.recordings.active == ()

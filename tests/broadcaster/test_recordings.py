"""The recordings of a node: how many there may be, and what they cost when there is none."""

from __future__ import annotations

import pytest

from fanwise.broadcaster.node import Node
from fanwise.broadcaster.recordings import MOST_RECORDINGS
from fanwise.core.publication import Kind
from fanwise.core.trace import Header, Published
from fanwise.core.trace_reader import read_trace
from fanwise.errors import NotRunningError, RecordingLimitError

from ..support.fakes import FakeSink
from .test_recorder import staged

pytestmark = pytest.mark.anyio


async def test_there_may_be_four_at_a_time() -> None:
    """Each has all; one more is refused, until another one has ended."""
    async with staged() as node:
        recorders = [node.recordings.start(most_bytes=1 << 20) for _ in range(MOST_RECORDINGS)]
        with pytest.raises(RecordingLimitError, match="4 traces are being recorded already"):
            node.recordings.start(most_bytes=1 << 20)
        node.publish_nowait("a", "x")
        recorders[0].end("asked")
        node.recordings.start(most_bytes=1 << 20)
        node.publish_nowait("a", "y")
        for recorder in recorders[1:]:
            recorder.end("asked")
            records = list(read_trace([await recorder.read()]))
            assert sum(isinstance(record, Published) for record in records) == 2
        assert len(node.recordings.active) == 1


async def test_without_one_nobody_is_notified() -> None:
    """The hub, the registry and the audit are called as if there had never been one."""
    async with staged() as node:
        node.recordings.start(most_bytes=1 << 20).end("asked")
        node.add_client(FakeSink(), channel="a")
        assert node._host is not None
        assert node._host.changed == node._registry.changed
        assert node._publisher._publish == node._hub.publish
        assert node._audit.witness is None


async def test_texts_that_come_at_once_are_recorded_one_by_one() -> None:
    """While there is a recording they are not appended together."""
    async with staged() as node:
        node.add_client(FakeSink(), channel="a")
        recorder = node.recordings.start(most_bytes=1 << 20)
        assert not node.append_at_once("a", Kind.TEXT, [b"x", b"y"])
        recorder.end("asked")
        assert node.append_at_once("a", Kind.TEXT, [b"x", b"y"])


async def test_the_header_has_the_settings_in_force() -> None:
    """And the time between two audits, which a replay needs."""
    async with staged(queue_messages=77, overflow="latest") as node:
        recorder = node.recordings.start(most_bytes=1 << 20)
        recorder.end("asked")
        header = next(read_trace([await recorder.read()]))
        assert isinstance(header, Header)
        assert header.settings == {**node.inspect.limits(), "audit_seconds": 0.25}
        assert (header.settings["queue_messages"], header.settings["overflow"]) == (77, "latest")


async def test_a_node_that_does_not_run_records_nothing() -> None:
    """It says how it is started."""
    with pytest.raises(NotRunningError):
        Node().recordings.start(most_bytes=1)

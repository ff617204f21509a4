"""Taking messages in: what shows when there are few clients to send them to."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from fanwise.transport.frames import FrameCutter

MESSAGES = b"".join(Frame(Opcode.TEXT, b"x" * 128).serialize(mask=True) for _ in range(64))


@pytest.mark.parametrize("way", ["cutter", "websockets"])
def test_64_messages_in_one_read(benchmark: BenchmarkFixture, way: str) -> None:
    """Guards the cutter for plain frames: the twin is the library's parser."""
    benchmark.group = "64 messages in one read"
    cutter = FrameCutter(max_bytes=65_536)
    parser = Protocol(Side.SERVER, state=State.OPEN, max_size=65_536)

    def cut() -> int:
        return len(cutter.feed(MESSAGES, raw=False))

    def parse() -> int:
        parser.receive_data(MESSAGES)
        return len(parser.events_received())

    assert benchmark(cut if way == "cutter" else parse) == 64

"""Prints pauses on real sockets: what `core.forgiven` predicts of each, beside what is seen.

    python -m tests.system.pauses

Each row has a server process, a publisher and a reader that stops reading. What the kernels hide is measured first.
Then all rows run at the same time, for a minute. The exit status is 1 if a prediction is wrong.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect

from fanwise.core.forgiven import Bound, Bounds, Forgiven, forgiven, hidden_bytes, wire_size
from fanwise.settings import Settings

from ..support.processes import ServerProcess

READS_SECONDS = 2.0  # before the pause, and after it
CLOSED = {Bound.STALL: "stalled", Bound.PONG: "no_pong"}


class Row(NamedTuple):
    """A pause, and the server that it is played on."""

    size_bytes: int
    rate: int
    pause_seconds: float
    settings: Mapping[str, Any] = MappingProxyType({})

    def rule(self, room_bytes: float) -> Forgiven:
        found = Settings(_env_file=None, **self.settings)  # type: ignore[call-arg]
        bounds = Bounds(
            found.queue_messages,
            found.queue_bytes,
            found.forgive_seconds or float("inf"),
            found.stall_seconds if found.overflow == "disconnect" else float("inf"),
            found.pong_seconds if found.overflow == "disconnect" else float("inf"),
        )
        traffic = {"messages_per_second": self.rate, "message_bytes": self.size_bytes}
        return forgiven(bounds, **traffic, room_bytes=room_bytes)

    def predicted(self, rule: Forgiven) -> str:
        if self.pause_seconds <= rule.seconds:
            return "forgiven"
        if self.settings.get("overflow", "disconnect") != "disconnect":
            return "skipped"
        return CLOSED.get(rule.bound, "slow")


WIDE = {"queue_messages": 20_000, "queue_bytes": 20_000_000}
ROWS = [
    Row(500, 100, 11),
    Row(500, 100, 20, {"queue_messages": 4_000}),
    Row(4_000, 100, 2),
    Row(4_000, 100, 12),
    Row(500, 100, 6, {**WIDE, "forgive_seconds": 5, "stall_seconds": 60}),
    Row(500, 100, 14, {**WIDE, "forgive_seconds": 5, "stall_seconds": 60}),
    Row(500, 100, 30, {**WIDE, "overflow": "drop_oldest", "stall_seconds": 5}),
    Row(500, 100, 30, {"queue_messages": 300, "overflow": "drop_oldest", "stall_seconds": 5}),
    Row(500, 100, 30, {**WIDE, "overflow": "latest", "forgive_seconds": 10, "stall_seconds": 5}),
    Row(500, 5, 7),
    Row(500, 5, 35),
    Row(500, 5, 35, {"overflow": "latest"}),
]


async def publish(websocket: ClientConnection, row: Row) -> None:
    """Publishes at the row's rate; what is late is caught up."""
    loop = asyncio.get_running_loop()
    begin, count = loop.time(), 0
    while True:
        await websocket.send("x" * row.size_bytes)
        count += 1
        await asyncio.sleep(begin + count / row.rate - loop.time())


async def read_all(websocket: ClientConnection) -> None:
    async for _ in websocket:
        pass


def stats(server: ServerProcess) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(server.get("/stats").partition(b"\r\n\r\n")[2])
    return document


async def seen(row: Row, server: ServerProcess) -> tuple[str, float | None]:
    """What becomes of the reader, and the bytes that the kernels hid of one that is there after its pause."""
    url = server.url("/ws?channel=a")
    async with (
        connect(url, compression=None) as publisher,
        connect(url, compression=None, ping_interval=None) as reader,
    ):
        works = (read_all(publisher), read_all(reader), publish(publisher, row))
        tasks = [asyncio.create_task(work) for work in works]
        await asyncio.sleep(READS_SECONDS)
        reader.transport.pause_reading()
        before = stats(server)
        await asyncio.sleep(row.pause_seconds)
        during = stats(server)
        reader.transport.resume_reading()
        await asyncio.sleep(READS_SECONDS)
        after = stats(server)
        for task in tasks:
            task.cancel()
        reader.transport.abort()
    reasons = [name for name, count in after["closed"].items() if count]
    outcome = (reasons or ["skipped" if after["dropped"]["gap_slow"] else "forgiven"])[0]
    if not during["now"]["behind"]:
        return outcome, None
    slow, published = during["clients"][0], during["totals"]["publications"] - before["totals"]["publications"]
    return outcome, (published - slow["lag"]) * wire_size(row.size_bytes) - slow["buffered_bytes"]


async def play(row: Row) -> tuple[str, float | None]:
    """Plays a row on a server of its own."""
    flags = [word for name, value in row.settings.items() for word in ("--" + name.replace("_", "-"), str(value))]
    server = await asyncio.to_thread(
        ServerProcess, "-m", "fanwise", "serve", "--port", "{port}", "--template", "{{text}}", *flags
    )
    try:
        return await seen(row, server)
    finally:
        await asyncio.to_thread(server.close)


async def main() -> int:
    hidden: dict[int, float] = {}
    for size_bytes in sorted({row.size_bytes for row in ROWS}):
        _, found = await play(Row(size_bytes, 100, 6, {**WIDE, "overflow": "drop_oldest"}))
        hidden[size_bytes] = found or hidden_bytes(wire_size(size_bytes))
        say(f"publications of {size_bytes} bytes: the kernels hide {hidden[size_bytes] / 1000:.0f} kB")
    held = 0
    for row, (outcome, _) in zip(ROWS, await asyncio.gather(*map(play, ROWS)), strict=True):
        rule = row.rule(hidden[row.size_bytes])
        predicted = row.predicted(rule)
        held += outcome == predicted
        say(
            f"{'ok   ' if outcome == predicted else 'WRONG'} {row.size_bytes:>5} B {row.rate:>3}/s pause "
            f"{row.pause_seconds:>4g} s, forgiven {rule.seconds:5.1f} s by {rule.bound.value}: predicted {predicted}, "
            f"seen {outcome} {dict(row.settings) or ''}"
        )
    say(f"{held} of {len(ROWS)} as predicted")
    return 0 if held == len(ROWS) else 1


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

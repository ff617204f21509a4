"""What a backplane costs, on a real engine: CPU time of workers and engine, and the time from one worker to another.

    python -m benchmarks.backplane [publish] [receive] [busy] [deliver] [open] [--rounds N] [--seconds S]

    publish  one worker publishes, 1, 16 or 64 at a time, and waits for the positions; and as connections do that send
             64 texts at a time
    receive  one worker receives what another one publishes so: on channels that are open there, with a client each,
             on others, and on one channel with one client
    busy     one worker receives as fast as another one can publish: 64 texts of a connection at a time to one channel,
             or 384 at a time to 1,000
    deliver  1,000 publications per second, in time from one worker's `publish` to a client of the other
    open     100,000 channels: opened at once, published to, and the engine's memory

Publications have 128 bytes and go to 1,000 channels in turn, where not to one. CPU time is that of the process, as the
kernel counts it: other programs beside it change it little, but they change times of delivery much. Figures are medians
of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from math import inf
from types import MappingProxyType
from typing import Any, Final

import uvloop

from fanwise import Broadcaster
from fanwise.backplane.options import Options
from fanwise.backplane.port import Opened
from fanwise.backplane.urls import backplane_from
from fanwise.core.dialect import PLAIN
from fanwise.core.publication import Kind
from tests.support.engines import RedisServer, redis_server

from .harness import Silence, TakesAll

CHANNELS: Final = tuple(f"c{number}" for number in range(1000))
PAYLOAD: Final = "x" * 128
FRAMES: Final = (1, 16, 64)
RATE: Final = 1000
MANY: Final = 100_000
_CHUNK: Final = 5000  # channels that are opened at a time


@asynccontextmanager
async def worker(url: str) -> AsyncIterator[Broadcaster]:
    """A broadcaster behind the engine."""
    patient = Options(publish_seconds=60, check_seconds=30)  # also on a machine that does other things
    broadcaster = Broadcaster(
        backplane=backplane_from(url, patient), sweep="write", ready_lag_seconds=inf, memory_bytes=None
    )
    async with broadcaster:
        yield broadcaster


async def engine_seconds(server: RedisServer) -> float:
    """CPU time of the engine so far."""
    text = await server.ask("INFO", "cpu")
    facts = dict(line.split(":", 1) for line in text.decode().split("\r\n") if ":" in line)
    return float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"])


async def engine_bytes(server: RedisServer) -> int:
    """Memory of the engine, without what links take."""
    text = await server.ask("INFO", "memory")
    facts = dict(line.split(":", 1) for line in text.decode().split("\r\n") if ":" in line)
    return int(facts["used_memory_dataset"])


async def publish_for(broadcaster: Broadcaster, frame: int, seconds: float, channels: int = len(CHANNELS)) -> int:
    """Publishes `frame` at a time to so many channels, and waits for them; returns how many."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        several = (broadcaster.publish(CHANNELS[(count + place) % channels], PAYLOAD) for place in range(frame))
        await asyncio.gather(*several)
        count += frame
    return count


async def publish_texts(broadcaster: Broadcaster, frame: int, seconds: float) -> int:
    """Publishes as a connection of the plain dialect does; returns how many."""
    texts, count, end = [PAYLOAD.encode()] * frame, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        future = broadcaster.sharing.submitter.submit_all(CHANNELS[0], Kind.TEXT, texts)
        assert future is not None
        await future
        count += frame
    return count


async def publishing(server: RedisServer, seconds: float) -> dict[str, float]:
    """CPU of worker and engine per publication, in microseconds."""
    found: dict[str, float] = {}
    async with worker(server.url) as broadcaster:
        ways = [(f"{frame:2} at a time", partial(publish_for, broadcaster, frame)) for frame in FRAMES]
        ways.append(("64 at a time, one channel", partial(publish_for, broadcaster, 64, channels=1)))
        ways.append(("64 texts of a connection", partial(publish_texts, broadcaster, 64)))
        for way, publish in ways:
            await publish(seconds=0.2)
            engine, own, begin = await engine_seconds(server), time.process_time(), time.monotonic()
            count = await publish(seconds=seconds)
            took, own = time.monotonic() - begin, time.process_time() - own
            found[f"publish, {way}: per second"] = count / took
            found[f"publish, {way}: worker us"] = own / count * 1e6
            found[f"publish, {way}: engine us"] = (await engine_seconds(server) - engine) / count * 1e6
    return found


async def in_another_process(url: str, what: str, *arguments: float) -> dict[str, float]:
    """Has a child of this program work on the same engine, and returns what it prints."""
    argv = [sys.executable, "-m", "benchmarks.backplane", "--child", what, url, *map(str, arguments)]
    child = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    said, _ = await child.communicate()
    answer: dict[str, float] = json.loads(said)
    return answer


async def receiving(server: RedisServer, seconds: float) -> dict[str, float]:
    """CPU of a worker per publication that it receives, in microseconds."""
    found: dict[str, float] = {}
    all_channels = len(CHANNELS)
    for way, channels, opened, clients in (
        ("not open", all_channels, 0, 0),
        ("open", all_channels, all_channels, 0),
        ("one client each", all_channels, all_channels, 1),
        ("one channel, one client", 1, 1, 1),
    ):
        async with worker(server.url) as broadcaster, AsyncExitStack() as stack:
            await _open_some(broadcaster, stack, opened=opened, clients=clients)
            for frame in FRAMES:
                await in_another_process(server.url, "publish", frame, 0.1, channels)
                idle = await _cpu(asyncio.sleep, seconds)
                busy, answer = await _cpu_of(in_another_process(server.url, "publish", frame, seconds, channels))
                found[f"receive, frames of {frame:2}, {way}: worker us"] = (busy - idle) / answer["count"] * 1e6
    return found


async def receiving_busily(server: RedisServer, seconds: float) -> dict[str, float]:
    """CPU of a worker per publication that it receives while frames follow each other, in microseconds."""
    found: dict[str, float] = {}
    for how, channels in (("texts", 1), ("crowd", len(CHANNELS))):
        for way, opened, clients in (("not open", 0, 0), ("open", channels, 0), ("one client each", channels, 1)):
            async with worker(server.url) as broadcaster, AsyncExitStack() as stack:
                await _open_some(broadcaster, stack, opened=opened, clients=clients)
                child = asyncio.create_task(in_another_process(server.url, how, 2 + seconds))
                counts = broadcaster.sharing.counts
                while not counts.received:  # noqa: ASYNC110 - until the child has started
                    await asyncio.sleep(0.1)
                begin, received = time.process_time(), counts.received
                await asyncio.sleep(seconds)
                cpu, count = time.process_time() - begin, counts.received - received
                await child
            found[f"busy, {channels} channels, {way}: worker us"] = cpu / count * 1e6
            found[f"busy, {channels} channels, {way}: per second"] = count / seconds
    return found


async def _open_some(broadcaster: Broadcaster, stack: AsyncExitStack, *, opened: int, clients: int) -> None:
    for channel in CHANNELS[:opened]:
        await broadcaster.sharing.ready(channel, None)
        for _ in range(clients):
            client = broadcaster.client(TakesAll(), Silence, channel=channel, dialect=PLAIN)
            await stack.enter_async_context(client)


async def _cpu(work: Callable[[float], Awaitable[Any]], seconds: float) -> float:
    begin = time.process_time()
    await work(seconds)
    return time.process_time() - begin


async def _cpu_of(work: Awaitable[dict[str, float]]) -> tuple[float, dict[str, float]]:
    begin = time.process_time()
    answer = await work
    return time.process_time() - begin, answer


class _Stamps(TakesAll):
    """Keeps how long each publication was on its way: its payload is the time of its publisher."""

    def __init__(self, found: list[float]) -> None:
        super().__init__()
        self._found = found

    def write(self, data: bytes | memoryview) -> None:
        now, text, begin = time.monotonic(), bytes(data), 0
        while begin < len(text):
            size = text[begin + 1]
            self._found.append(now - float(text[begin + 2 : begin + 2 + size]))
            begin += 2 + size


async def delivering(server: RedisServer, seconds: float) -> dict[str, float]:
    """From `publish` on one worker to a client of another, in milliseconds."""
    found: list[float] = []
    async with (
        worker(server.url) as broadcaster,
        broadcaster.client(_Stamps(found), Silence, channel="lobby", dialect=PLAIN),
    ):
        answer = await in_another_process(server.url, "stamp", RATE, seconds)
    assert len(found) == answer["count"], (len(found), answer)
    places = statistics.quantiles(found, n=100)
    return {"deliver, 1,000/s: p50 ms": places[49] * 1e3, "deliver, 1,000/s: p99 ms": places[98] * 1e3}


async def opening(server: RedisServer, _: float) -> dict[str, float]:
    """CPU of worker and engine per channel in microseconds, and the engine's bytes."""
    await server.ask("FLUSHALL")
    found: dict[str, float] = {}
    async with worker(server.url) as broadcaster:
        backplane: Any = broadcaster.backplane
        for what in ("open, new", "open, again", "publish to each"):
            engine, size, own = await engine_seconds(server), await engine_bytes(server), time.process_time()
            for begin in range(0, MANY, _CHUNK):
                names = [f"many{number}" for number in range(begin, begin + _CHUNK)]
                if what == "publish to each":
                    for place in range(0, _CHUNK, 100):
                        await asyncio.gather(
                            *(broadcaster.publish(name, PAYLOAD) for name in names[place : place + 100])
                        )
                else:
                    await asyncio.gather(*(_open(backplane, name) for name in names))
            own, engine = time.process_time() - own, await engine_seconds(server) - engine
            found[f"{what}: worker us"] = own / MANY * 1e6
            found[f"{what}: engine us"] = engine / MANY * 1e6
            found[f"{what}: engine bytes"] = (await engine_bytes(server) - size) / MANY
    await server.ask("FLUSHALL")
    return found


def _open(backplane: Any, channel: str) -> asyncio.Future[Opened]:
    future: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()

    def done(opened: Opened | Exception) -> None:
        if isinstance(opened, Exception):
            future.set_exception(opened)
        else:
            future.set_result(opened)

    backplane.open(channel, None, done)
    return future


# What a child does.


async def publish_alone(url: str, frame: float, seconds: float, channels: float) -> dict[str, float]:
    async with worker(url) as broadcaster:
        return {"count": await publish_for(broadcaster, int(frame), seconds, int(channels))}


async def texts_alone(url: str, seconds: float) -> dict[str, float]:
    async with worker(url) as broadcaster:
        return {"count": await publish_texts(broadcaster, 64, seconds)}


async def crowd(url: str, seconds: float) -> dict[str, float]:
    """Six publish 64 at a time, to as many channels each."""
    async with worker(url) as broadcaster:
        submit = broadcaster.sharing.submitter.submit

        async def publish(first: int) -> int:
            count, end = 0, time.monotonic() + seconds
            while time.monotonic() < end:
                names = [CHANNELS[(first + count + place) % len(CHANNELS)] for place in range(64)]
                await asyncio.gather(*(submit(name, Kind.TEXT, PAYLOAD.encode()) for name in names))
                count += len(names)
            return count

        return {"count": sum(await asyncio.gather(*(publish(160 * number) for number in range(6))))}


async def stamp(url: str, rate: float, seconds: float) -> dict[str, float]:
    """Publishes at a rate; each payload is its time. What is late is caught up."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[Any]] = set()
    async with worker(url) as broadcaster:
        await broadcaster.publish("other", PAYLOAD)
        begin, count = loop.time(), 0
        while count < rate * seconds:
            await asyncio.sleep(max(0.0, begin + count / rate - loop.time()))
            task = loop.create_task(broadcaster.publish("lobby", repr(time.monotonic())))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            count += 1
        await asyncio.gather(*tasks)
    return {"count": count}


PARTS: Final[Mapping[str, Callable[[RedisServer, float], Awaitable[dict[str, float]]]]] = MappingProxyType(
    {"publish": publishing, "receive": receiving, "busy": receiving_busily, "deliver": delivering, "open": opening}
)
CHILDREN: Final[Mapping[str, Callable[..., Coroutine[Any, Any, dict[str, float]]]]] = MappingProxyType(
    {"publish": publish_alone, "texts": texts_alone, "crowd": crowd, "stamp": stamp}
)


def say(name: str, figures: list[float]) -> None:
    """Prints the median of the rounds so far."""
    sys.stdout.write(f"{name:60} {statistics.median(figures):10.2f}   ({min(figures):.2f} to {max(figures):.2f})\n")
    sys.stdout.flush()


async def measure(parts: list[str], *, rounds: int, seconds: float) -> None:
    """Measures all parts, round after round."""
    found: dict[str, list[float]] = {}
    with redis_server() as server:
        await server.ready()
        for _ in range(rounds):
            for part in parts:
                for name, figure in (await PARTS[part](server, seconds)).items():
                    found.setdefault(name, []).append(figure)
                    say(name, found[name])


def main() -> None:
    """Prints the figures."""
    if sys.argv[1:2] == ["--child"]:
        what, url, *arguments = sys.argv[2:]
        sys.stdout.write(json.dumps(uvloop.run(CHILDREN[what](url, *map(float, arguments)))))
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backplane", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    chosen = parser.parse_args()
    if unknown := [part for part in chosen.parts if part not in PARTS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    uvloop.run(measure(chosen.parts or list(PARTS), rounds=chosen.rounds, seconds=chosen.seconds))


if __name__ == "__main__":
    main()

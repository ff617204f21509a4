"""Workers, clients and publishers around engines; something happens to them, and then the invariants are asked."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from fanwise.backplane.options import Options
from fanwise.backplane.redis import dial
from fanwise.errors import BackplaneDownError, FanwiseError, UnconfirmedError

from ...support.engines import RedisServer
from ...support.live import until
from ...support.nats import NatsServer, nats_servers
from .clock import Clock
from .engines import Engine, engine, program_in, sentinels
from .gate import Gate, gate, nats_gate
from .invariants import LAST, Violation, gaps_in, judge
from .process import Launched, ProcessWorker, RemoteWorker
from .reader import Reader
from .record import Invoked, Record, Settled
from .worker import LocalWorker, ReaderSink, Worker

CHANNELS = ("c0", "c4", "c1", "c5", "c2", "c6", "c3", "c7")  # of two shards, by turns
WORKERS = 3
_AT_ONCE = ("--repl-diskless-sync-delay", "0")
_LOOK_SECONDS = 0.05
_DISTURBED_SECONDS = 0.5  # where the loop was that late, publishers may have been told of it
_LAST_SECONDS = 20.0  # for the last publication of each channel to reach everybody


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that happens, and what may come of it.

    Attributes:
        strike: Has it happen.
        gaps: The reasons of gaps that clients may be told.
        shows: Those of them that must be told: without, the fault was none.
        turns: Whether clients must be told of another epoch, and may.
        fates: What publishers may be told instead of a position: "down", "unknown".
        engine: Options of the engine.
        options: Of the workers' backplanes, beside their defaults here.
        nats: How many servers of NATS there are in place of Redis.
        shards: How many engines there are.
        replicas: How many the engine has.
        returns: Whether an epoch may come again.
        sentinels: How many sentinels look after the two.
        processes: Whether workers are processes.
        launched: Whether workers are those of `fanwise serve --workers`, which has an engine of its own.
        clock: Whether the engine's clock can be set.
        rate: Publications per second, of all workers.
        padding: Bytes that each publication has beside its number.
        tail_seconds: Of publishing after it has happened.
    """

    strike: Callable[[Scene], Awaitable[None]]
    gaps: frozenset[str] = frozenset()
    shows: frozenset[str] = frozenset()
    turns: bool = False
    fates: frozenset[str] = frozenset()
    engine: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    nats: int = 0
    shards: int = 1
    replicas: int = 0
    returns: bool = False
    sentinels: int = 0
    processes: bool = False
    launched: bool = False
    clock: bool = False
    rate: int = 200
    padding: int = 0
    tail_seconds: float = 1.5


class Verdict(NamedTuple):
    """What came of a run."""

    violations: list[Violation]
    fates: Counter[str]
    gaps: Counter[str]
    deliveries: int
    slowest_seconds: float
    late_seconds: float
    record: Record


@dataclass
class Scene:
    """What a fault can act on.

    Attributes:
        brief: Whether a fault takes a second instead of the time that it takes in life.
        gates: One for each worker and shard: `gates[worker][shard]`; none with sentinels.
    """

    fault: Fault
    brief: bool
    random: Random
    stack: contextlib.AsyncExitStack
    record: Record = field(default_factory=Record)
    engines: list[Engine] = field(default_factory=list)
    replicas: list[Engine] = field(default_factory=list)
    nats: list[NatsServer] = field(default_factory=list)
    sentinels: list[RedisServer] = field(default_factory=list)
    gates: list[list[Gate]] = field(default_factory=list)
    workers: list[LocalWorker | RemoteWorker] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    clock: Clock | None = None
    launched: Launched | None = None
    urls: list[str] = field(default_factory=list)
    late_seconds: float = 0.0  # of this loop, at most
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    wrong: list[Violation] = field(default_factory=list)

    @property
    def primary(self) -> Engine:
        return self.engines[0]

    @property
    def local(self) -> list[LocalWorker]:
        return [worker for worker in self.workers if isinstance(worker, LocalWorker)]

    @property
    def processes(self) -> list[ProcessWorker]:
        return [worker for worker in self.workers if isinstance(worker, ProcessWorker)]

    async def lasts(self, seconds: float, *, brief: float | None = None) -> None:
        """Lets time pass; less of it where runs are brief."""
        await asyncio.sleep(seconds if not self.brief else min(seconds, 0.4) if brief is None else brief)

    def note(self, what: str) -> None:
        self.record.note(what)

    def expect(self, holds: bool, what: str) -> None:
        """Something that must be so beside the invariants."""
        if not holds:
            self.wrong.append(Violation("fault", "scene", what))

    async def replace(self, place: int, name: str) -> None:
        """Another worker takes the place of one, which has gone."""
        worker = self.new_worker(name, self.urls[place])
        await worker.start()
        self.workers[place] = worker

    def new_worker(self, name: str, url: str) -> LocalWorker | ProcessWorker:
        defaults: dict[str, Any] = {"publish_seconds": 5.0, "check_seconds": 0.3 if self.brief else 1.0}
        options = Options(**{**defaults, **self.fault.options})
        return (ProcessWorker if self.fault.processes else LocalWorker)(name, url, options)


async def play(fault: Fault, *, seed: int, brief: bool = False) -> Verdict:
    """Plays a fault once."""
    async with contextlib.AsyncExitStack() as stack:
        scene = Scene(fault, brief, Random(seed), stack)
        await _set_up(scene)
        fixed = [asyncio.create_task(_stay(scene, reader, place)) for place, reader in _fixed(scene)]
        hopping = [asyncio.create_task(_hop(scene, reader)) for reader in _hopping(scene)]
        others = [asyncio.create_task(_slow_down(scene, fixed)), asyncio.create_task(_watch(scene))]
        stack.push_async_callback(_cancel, [*fixed, *hopping, *others])
        await _everybody_there(scene)
        publishing = asyncio.create_task(_publish(scene))
        await scene.lasts(1.0, brief=0.3)
        await fault.strike(scene)
        scene.note("struck")
        await scene.lasts(fault.tail_seconds, brief=0.6)
        scene.stopped.set()
        await publishing
        await _say_goodbye(scene)
        return _verdict(scene)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _watch(scene: Scene) -> None:
    """Keeps how late this loop is: other programs are no fault of a server."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LOOK_SECONDS
        await asyncio.sleep(_LOOK_SECONDS)
        scene.late_seconds = max(scene.late_seconds, loop.time() - due)


# Setting up.


async def _set_up(scene: Scene) -> None:
    if scene.fault.launched:
        await _launch(scene)
    else:
        await _set_up_engines(scene)
    scene.stack.push_async_callback(_stop, scene)
    await asyncio.gather(*(worker.start() for worker in scene.workers))


async def _launch(scene: Scene) -> None:
    scene.launched = launched = await asyncio.to_thread(Launched, WORKERS)
    scene.stack.push_async_callback(asyncio.to_thread, launched.close)
    await until(lambda: launched.started() == WORKERS)
    port = launched.server.port
    scene.workers = [RemoteWorker(f"w{place}", answer_seconds=7, port=port) for place in range(WORKERS)]


async def _set_up_engines(scene: Scene) -> None:
    stack, fault = scene.stack, scene.fault
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fw")))
    if fault.nats:
        await _set_up_nats(scene)
    else:
        await _set_up_redis(scene, folder)
    scene.workers = [scene.new_worker(f"w{place}", url) for place, url in enumerate(scene.urls)]


async def _set_up_nats(scene: Scene) -> None:
    """Each worker has a gate before each of the servers."""
    scene.nats = scene.stack.enter_context(nats_servers(scene.fault.nats))
    for server in scene.nats:
        await server.ready()
    for _ in range(WORKERS):
        gates = [await scene.stack.enter_async_context(nats_gate(server.port)) for server in scene.nats]
        scene.gates.append(gates)
        scene.urls.append("nats://" + ",".join(one.url.removeprefix("nats://") for one in gates))


async def _set_up_redis(scene: Scene, folder: Path) -> None:
    stack, fault = scene.stack, scene.fault
    if fault.clock:
        scene.clock = Clock(folder)
    program = program_in(folder, scene.clock)
    options = (*_AT_ONCE, *fault.engine)
    scene.engines = [stack.enter_context(engine(*options, program=program)) for _ in range(fault.shards)]
    for one in scene.engines:
        await one.server.ready()
    for _ in range(fault.replicas):
        replica = stack.enter_context(engine(*options, program=program))
        scene.replicas.append(replica)
        await replica.server.ready()
        await replica.follow(scene.primary)
        await replica.in_sync()
    if fault.sentinels:
        scene.sentinels, ports = stack.enter_context(sentinels(scene.primary, fault.sentinels, down_ms=1000))
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        scene.urls = [f"redis+sentinel://{hosts}/main"] * WORKERS
    else:
        await _put_up_gates(scene, folder)


async def _put_up_gates(scene: Scene, folder: Path) -> None:
    script = hashlib.sha1(dial.SCRIPTS["publish"].encode()).hexdigest().encode()
    for place in range(WORKERS):
        gates = [
            await scene.stack.enter_async_context(
                gate(folder / f"g{place}.{shard}", one.socket, is_frame=lambda data: script in data)
            )
            for shard, one in enumerate(scene.engines)
        ]
        scene.gates.append(gates)
        scene.urls.append(" ".join(one.url for one in gates))


async def _stop(scene: Scene) -> None:
    hanging = [one.server.hang for one in (*scene.engines, *scene.replicas)] + [one.hang for one in scene.nats]
    for hang in hanging:
        with contextlib.suppress(ProcessLookupError):
            hang(stalled=False)
    await asyncio.gather(*(worker.stop() for worker in scene.workers))


# Clients.


def _reader(scene: Scene, name: str, channel: str) -> Reader:
    reader = Reader(name, channel, scene.record)
    scene.readers.append(reader)
    return reader


def _fixed(scene: Scene) -> list[tuple[int, Reader]]:
    """One of each channel on each worker."""
    count = 4 if scene.brief else len(CHANNELS)
    return [
        (place, _reader(scene, f"fixed{place}{channel}", channel))
        for place in range(WORKERS)
        for channel in CHANNELS[:count]
    ]


def _hopping(scene: Scene) -> list[Reader]:
    """Two of each channel, which go from worker to worker."""
    count = 4 if scene.brief else len(CHANNELS)
    return [_reader(scene, f"hop{number}{channel}", channel) for channel in CHANNELS[:count] for number in range(2)]


async def _connected(scene: Scene, worker: Worker, reader: Reader, seconds: float | None) -> None:
    """Stays for some time, or until the other side ends it; comes back at once if it is not taken in."""
    try:
        async with worker.connection(reader):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await reader.ended.wait()
    except (OSError, FanwiseError) as error:
        scene.note(f"{reader.name} at {worker.name}: {error!r}")


async def _stay(scene: Scene, reader: Reader, place: int) -> None:
    while True:
        await _connected(scene, scene.workers[place], reader, None)
        await asyncio.sleep(scene.random.uniform(0.02, 0.1))


async def _hop(scene: Scene, reader: Reader) -> None:
    while True:
        last = scene.stopped.is_set()
        await _connected(
            scene, scene.random.choice(scene.workers), reader, None if last else scene.random.uniform(0.05, 0.6)
        )
        await asyncio.sleep(scene.random.uniform(0, 0.1))


async def _slow_down(scene: Scene, fixed: list[asyncio.Task[None]]) -> None:
    """Has some clients of workers in this process take nothing for a while, again and again."""
    while fixed and not scene.stopped.is_set():
        for worker in scene.local:
            sinks = [sink for sink in worker.sinks if sink.writable and sink.connected]
            if sinks:
                sink = scene.random.choice(sinks)
                sink.pause()
                asyncio.get_running_loop().call_later(scene.random.uniform(0.02, 0.3), _go_on, sink)
        await asyncio.sleep(0.1)


def _go_on(sink: ReaderSink) -> None:
    if sink.connected:
        sink.resume()


async def _everybody_there(scene: Scene) -> None:
    async with asyncio.timeout(60):
        await until(lambda: all(reader.position for reader in scene.readers))


# Publishers.


async def _publish(scene: Scene) -> None:
    pause, serial, tasks = 0.01, 0, []
    burst = max(1, round(scene.fault.rate * pause))
    pause = burst / scene.fault.rate
    channels = CHANNELS[:4] if scene.brief else CHANNELS
    while not scene.stopped.is_set():
        for _ in range(burst):
            serial += 1
            body = f"{serial}{'.' * scene.fault.padding}"
            worker, channel = scene.random.choice(scene.workers), scene.random.choice(channels)
            tasks.append(asyncio.create_task(_publish_one(scene, worker, channel, body)))
        await asyncio.sleep(pause)
    done, hung = await asyncio.wait(tasks, timeout=20)
    scene.expect(not hung, f"{len(hung)} publications were never answered")
    for task in (*done, *hung):
        task.cancel()
    for task in done:
        task.result()


async def _publish_one(scene: Scene, worker: Worker, channel: str, body: str) -> bool:
    scene.record.add(Invoked(time.monotonic(), body, channel, worker.name))
    outcome, position = "acked", None
    try:
        found = await worker.publish(channel, body)
        position = found if found.epoch else None
    except BackplaneDownError:
        outcome = "down"
    except (UnconfirmedError, OSError):
        outcome = "unknown"
    except FanwiseError:  # the worker has stopped
        outcome = "down"
    scene.record.add(Settled(time.monotonic(), body, outcome, position))
    return outcome == "acked"


async def _say_goodbye(scene: Scene) -> None:
    """A last publication to each channel, and everybody has time to get it."""
    bodies: dict[str, str] = {}
    for channel in {reader.channel for reader in scene.readers}:
        for attempt in range(10):
            bodies[channel] = f"{LAST}{channel} {attempt}"
            worker = scene.random.choice(scene.workers)
            if await _publish_one(scene, worker, channel, bodies[channel]):
                break
            await asyncio.sleep(0.2)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_SECONDS):
            await until(lambda: all(bodies[reader.channel] in reader.bodies for reader in scene.readers))


def _verdict(scene: Scene) -> Verdict:
    fault, record = scene.fault, scene.record
    gaps = gaps_in(record)
    fates = Counter(entry.outcome for entry in record.all(Settled))
    deliveries = sum(len(reader.bodies) for reader in scene.readers)
    found = judge(record, returns=fault.returns) + scene.wrong
    turn = {"epoch"} if fault.turns else set()
    found += [Violation("gap", "clients", f"{gaps[one]} gaps {one}") for one in sorted(gaps.keys() - fault.gaps - turn)]
    found += [Violation("gap", "clients", f"no gap {one}") for one in sorted((fault.shows | turn) - gaps.keys())]
    disturbed = {"down", "unknown"} if scene.late_seconds > _DISTURBED_SECONDS else set()
    refused = fates.keys() - fault.fates - disturbed - {"acked"}
    found += [Violation("fate", "publishers", f"{fates[one]} {one}") for one in sorted(refused)]
    slowest = max(worker.slowest_seconds for worker in scene.workers)
    return Verdict(found, fates, gaps, deliveries, slowest, scene.late_seconds, record)

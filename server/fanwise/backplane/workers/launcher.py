"""Starts workers, and keeps them: those that die or hang are started again, and all can be replaced one by one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from ...logs.events import Event, log
from .engine import EngineError, PrivateEngine
from .member import Order, argument
from .port import SharedPort
from .processes import Start, how_it_ended
from .slot import DEATH_SECONDS, DEATHS, Deaths, Slot
from .supervisor import Supervisor
from .worker import Worker

START_SECONDS: Final = 60.0  # from a worker's start until it accepts connections
HUNG_SECONDS: Final = 10.0  # without a sign of life, after which a worker is killed
REST_SECONDS: Final = 3.0  # after which it gets no new connections, if another one does
LOOK_SECONDS: Final = 0.5
GRACE_SECONDS: Final = 2.0  # beyond the drain
FAILED: Final = 1  # exit status


class Launcher:
    """Owns the invariant that each slot has a worker, or will have one soon.

    Args:
        command: The worker's program and its arguments; its place follows.
        count: How many workers there are.
        port: Where they accept connections.
        engine: Their private engine; None: they have another one.
        drain_seconds: How long clients of a worker may take to leave.
        start: Starts a program.
        clock: Seconds.
        supervisor: Hears when a worker takes clients, and when all stop.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        count: int,
        port: SharedPort,
        engine: PrivateEngine | None,
        drain_seconds: float,
        start: Start,
        clock: Callable[[], float] = time.monotonic,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._supervisor = Supervisor() if supervisor is None else supervisor
        self._command = command
        self._engine = engine
        self._leave_seconds = drain_seconds + GRACE_SECONDS
        self._start = start
        self._clock = clock
        self._slots = [
            Slot(index, open_listener=port.listener, start_worker=partial(self._start_worker, count), clock=clock)
            for index in range(1, count + 1)
        ]
        self._on_terminal = os.isatty(0)
        self._was_ready = False  # any worker, ever
        self._signals = 0
        self._status = 0
        self._over = asyncio.Event()  # what is left is to stop
        self._now = asyncio.Event()  # at once
        self._hangup = asyncio.Event()

    async def run(self) -> int:
        """Runs until a signal ends it; returns the exit status: 0, or that of the first worker that did not start."""
        loop = asyncio.get_running_loop()
        handlers: dict[int, Callable[[], None]] = {
            signal.SIGTERM: self._asked_to_stop,
            signal.SIGINT: self._asked_to_stop,
            signal.SIGHUP: self._asked_to_replace,
            signal.SIGCHLD: self._look_for_ends,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            await self._run()
        finally:
            self._supervisor.close()
            for number in handlers:
                loop.remove_signal_handler(number)
            for slot in self._slots:
                slot.free()
                for worker in slot.workers:
                    worker.kill()
        return self._status

    async def _run(self) -> None:
        if self._engine is not None:
            try:
                await self._start_engine(self._engine)
            except EngineError as error:
                log(Event.ENGINE_FAILED, why=str(error))
                self._status = FAILED
                return
        async with asyncio.TaskGroup() as tasks:
            kept = [tasks.create_task(self._keep(slot)) for slot in self._slots]
            kept += [tasks.create_task(self._watch()), tasks.create_task(self._replace_when_asked())]
            if self._engine is not None:
                kept.append(tasks.create_task(self._keep_engine(self._engine)))
            await self._over.wait()
            for task in kept:
                task.cancel()
        await self._stop()

    def _asked_to_stop(self) -> None:
        self._signals += 1
        self._over.set()
        self._supervisor.stopping()
        if self._signals > 1:
            self._now.set()

    def _asked_to_replace(self) -> None:
        """Replaces all workers; or stops, when SIGHUP comes of a terminal that was closed."""
        if self._on_terminal and not os.isatty(0):
            self._asked_to_stop()
        else:
            self._hangup.set()

    def _end_with(self, status: int) -> None:
        self._status = status
        self._over.set()

    def _workers(self) -> list[Worker]:
        return [worker for slot in self._slots for worker in slot.workers]

    async def _stop(self) -> None:
        """Has all workers drain, and returns when they have ended: in time, killed, or at once after another signal."""
        workers = self._workers()
        for worker in workers:
            if not worker.ready:
                worker.kill()
        async with asyncio.TaskGroup() as tasks:
            at_once = tasks.create_task(self._kill_at_once())
            leaving = [worker.leave(Order.DRAIN, within_seconds=self._leave_seconds) for worker in workers]
            await asyncio.gather(*leaving)
            at_once.cancel()

    async def _kill_at_once(self) -> None:
        """Kills all workers at another signal."""
        await self._now.wait()
        for worker in self._workers():
            worker.kill()

    def _start_worker(self, count: int, index: int, listener: socket.socket) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            place = argument(index, count, listener.fileno(), theirs.fileno())
            try:
                process = self._start([*self._command, "--worker", place], (listener.fileno(), theirs.fileno()))
            except BaseException:
                ours.close()
                raise
        return Worker(process, ours, clock=self._clock)

    async def _keep(self, slot: Slot) -> None:
        """Starts a worker in the slot, and another one when that has ended."""
        while True:
            why = await self._one_life(slot)
            if self._over.is_set():
                return
            if why is None:  # another one has taken its place
                continue
            pause = slot.deaths.count()
            if pause is None:
                log(Event.WORKERS_GAVE_UP, worker=slot.index, deaths=DEATHS, seconds=DEATH_SECONDS, why=why)
                self._end_with(FAILED)
                return
            log(Event.WORKER_DIED, worker=slot.index, why=why, seconds=pause)
            await asyncio.sleep(pause)

    async def _one_life(self, slot: Slot) -> str | None:
        """Returns how the slot's worker has ended; None if it was replaced."""
        try:
            worker = slot.worker or slot.start()
        except OSError as error:
            slot.free()
            return f"it cannot be started: {error}"
        if await worker.started() and not self._was_ready:
            self._was_ready = True
            self._supervisor.ready(f"{len(self._slots)} workers")
        status = await worker.end()
        async with slot.taken:
            if slot.worker is not worker:
                return None
            slot.free()
        if status > 0 and not self._was_ready:  # it has said why, and the next one would say it, too
            self._end_with(status)
        return how_it_ended(worker.pid, status)

    async def _replace_when_asked(self) -> None:
        """Replaces all workers, one after the other, at each SIGHUP."""
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            log(Event.WORKERS_REPLACING, workers=len(self._slots))
            for slot in self._slots:
                try:
                    done = await slot.replace(within_seconds=self._leave_seconds)
                    why = "" if done else "the new one has not started"
                except OSError as error:
                    why = f"the new one cannot be started: {error}"
                if why:
                    log(Event.WORKER_NOT_REPLACED, worker=slot.index, why=why)
                    break
            else:
                log(Event.WORKERS_REPLACED, workers=len(self._slots))

    async def _watch(self) -> None:
        """Looks after workers that give no sign of life."""
        before = self._clock()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = self._clock()
            late, before = now - before > 2 * LOOK_SECONDS, now
            self._look_for_ends()
            if not late:  # else this process has stood still itself
                for slot in self._slots:
                    self._look_at(slot, now)

    def _look_at(self, slot: Slot, now: float) -> None:
        for worker in slot.workers:
            silent = now - worker.heard_at
            if silent > (HUNG_SECONDS if worker.ready else START_SECONDS):
                log(Event.WORKER_HUNG, worker=slot.index, pid=worker.pid, seconds=silent)
                worker.kill()
        if slot.worker is None or not slot.worker.ready:
            return
        silent = now - slot.worker.heard_at
        if silent <= REST_SECONDS:
            slot.rest(resting=False)
        elif not slot.resting and any(other.serves for other in self._slots if other is not slot):
            log(Event.WORKER_RESTS, worker=slot.index, pid=slot.worker.pid, seconds=silent)
            slot.rest(resting=True)

    def _look_for_ends(self) -> None:
        """Looks which processes have ended."""
        for worker in self._workers():
            worker.look()
        if self._engine is not None:
            self._engine.look()

    async def _start_engine(self, engine: PrivateEngine) -> None:
        await engine.start()
        log(Event.ENGINE_STARTED, program=engine.program, pid=engine.pid)

    async def _keep_engine(self, engine: PrivateEngine) -> None:
        """Starts the engine again when it has ended."""
        deaths = Deaths(self._clock)
        while True:
            why = engine.why(await engine.end())
            while why:
                pause = deaths.count()
                if pause is None:
                    log(Event.ENGINE_FAILED, why=why)
                    self._end_with(FAILED)
                    return
                log(Event.ENGINE_DIED, why=why, seconds=pause)
                await asyncio.sleep(pause)
                try:
                    await self._start_engine(engine)
                    why = ""
                except EngineError as error:
                    why = str(error)

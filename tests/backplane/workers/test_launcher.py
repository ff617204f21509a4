from __future__ import annotations

import os
import pty
import signal
from pathlib import Path

import pytest

from fanwise.backplane.workers import launcher as module
from fanwise.backplane.workers import slot as slots
from fanwise.backplane.workers.engine import PrivateEngine
from fanwise.backplane.workers.launcher import Launcher
from fanwise.backplane.workers.port import SharedPort
from fanwise.backplane.workers.processes import start

from ...support.engines import binary
from ...support.live import until
from .conftest import Launched, ask

pytestmark = pytest.mark.anyio


def pids(launcher: Launcher) -> set[int]:
    return {worker.pid for worker in launcher._workers()}


async def all_serve(launcher: Launcher) -> set[int]:
    """The process ids of the workers, when all accept connections."""
    await until(lambda: all(slot.serves for slot in launcher._slots))
    return pids(launcher)


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_workers_share_the_port(launched: Launched, port: SharedPort) -> None:
    """Connections come to all of them."""
    async with launched() as launcher:
        workers = await all_serve(launcher)
        found: set[int] = set()
        while found != workers:
            found.add(await ask(port))
    assert not any(exists(pid) for pid in workers)


async def test_a_worker_that_died_is_replaced(
    launched: Launched, port: SharedPort, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And meanwhile all connections come to the others: its listener is closed."""
    monkeypatch.setattr(slots, "FIRST_PAUSE_SECONDS", 2.0)
    async with launched() as launcher:
        await all_serve(launcher)
        first, second = (slot.worker for slot in launcher._slots)
        assert first is not None
        assert second is not None
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: launcher._slots[0].worker is None)
        assert {await ask(port) for _ in range(10)} == {second.pid}
        monkeypatch.undo()
        assert first.pid not in await all_serve(launcher)
    assert f"worker 1 has died: process {first.pid} was ended by SIGKILL. It is started again in 2 s" in caplog.text


async def test_workers_are_replaced_one_by_one(launched: Launched, port: SharedPort) -> None:
    """While others connect: each connection is answered, by an old worker or by a new one."""
    async with launched() as launcher:
        before = await all_serve(launcher)
        launcher._hangup.set()
        found: set[int] = set()
        while len(found - before) < 2:
            found.add(await ask(port))
            assert len(pids(launcher)) <= 3
        assert 0 not in found
        await until(lambda: not before & pids(launcher))


async def test_the_place_of_a_worker_that_hangs_is_open_again(
    launched: Launched, port: SharedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another one is in it."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 60.0)
    async with launched() as launcher:
        before = await all_serve(launcher)
        launcher._slots[0].rest(resting=True)
        launcher._hangup.set()
        await until(lambda: not before & pids(launcher))
        found: set[int] = set()
        while found != pids(launcher):
            found.add(await ask(port))


async def test_workers_stay_if_the_new_one_does_not_start(
    launched: Launched, port: SharedPort, caplog: pytest.LogCaptureFixture
) -> None:
    """As after an upgrade that was none."""
    async with launched() as launcher:
        before = await all_serve(launcher)
        launcher._command = [*launcher._command[:-1], "refuses"]
        launcher._hangup.set()
        await until(lambda: "worker 1 stays" in caplog.text)
        assert pids(launcher) == before
        assert await ask(port) in before


async def test_a_worker_that_hangs_is_left_alone_and_then_killed(
    launched: Launched, port: SharedPort, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """New connections come to the others; the last one that is left gets them all the same."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "REST_SECONDS", 0.5)
    async with launched() as launcher:
        await all_serve(launcher)
        first, second = launcher._slots
        assert first.worker is not None
        assert second.worker is not None
        hangs = first.worker.pid
        os.kill(hangs, signal.SIGSTOP)
        await until(lambda: first.resting)
        assert {await ask(port) for _ in range(10)} == {second.worker.pid}
        os.kill(hangs, signal.SIGCONT)
        await until(lambda: not first.resting)
        while await ask(port) != hangs:
            assert first.worker.pid == hangs
        os.kill(hangs, signal.SIGSTOP)
        os.kill(second.worker.pid, signal.SIGSTOP)
        await until(lambda: all(launcher._clock() - worker.heard_at > 1.0 for worker in launcher._workers()))
        assert first.resting != second.resting
        monkeypatch.setattr(module, "HUNG_SECONDS", 1.0)
        await until(lambda: not exists(hangs))
    assert "worker 1 gave no sign of life" in caplog.text


async def test_a_worker_that_is_never_ready_is_killed(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time in which every other one has started."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "START_SECONDS", 0.2)
    async with launched("late", count=1) as launcher:
        await until(lambda: bool(launcher._workers()))
        (pid,) = pids(launcher)
        await until(lambda: not exists(pid))


async def test_a_first_worker_that_does_not_start_ends_it(launched: Launched) -> None:
    """With the worker's status: it has said why."""
    async with launched("refuses") as launcher:
        await launcher._over.wait()
    assert launcher._status == 3


async def test_five_deaths_end_it(
    launched: Launched, port: SharedPort, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With status 1; the pause before each start is twice as long as the one before."""
    monkeypatch.setattr(slots, "FIRST_PAUSE_SECONDS", 0.01)
    async with launched("dies", count=1) as launcher:
        while not launcher._over.is_set():
            await until(lambda: launcher._slots[0].serves or launcher._over.is_set())
            if not launcher._over.is_set():
                await ask(port)
    assert launcher._status == 1
    assert [line for line in ("in 0.01 s", "in 0.02 s", "in 0.04 s", "in 0.08 s") if line not in caplog.text] == []
    assert "worker 1 has died 5 times in 30 s, last: process " in caplog.text


async def test_the_engine_is_started_again(launched: Launched) -> None:
    """At the same address; and is gone at the end."""
    engine = PrivateEngine(binary(), memory_bytes=1 << 26, start=start)
    async with launched(engine=engine) as launcher:
        await all_serve(launcher)
        first = engine.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: engine.pid != first and engine._takes_connections())
        assert not exists(first)
    engine.stop()
    assert not exists(engine.pid)


async def test_an_engine_that_does_not_start_ends_it(launched: Launched, caplog: pytest.LogCaptureFixture) -> None:
    """With its own words."""
    engine = PrivateEngine("/bin/false", memory_bytes=1 << 26, start=start)
    async with launched(engine=engine) as launcher:
        await until(lambda: launcher._status == 1)
    engine.stop()
    assert f"the private engine cannot be kept: process {engine.pid} ended with status 1" in caplog.text


async def test_all_drain_at_a_signal(launched: Launched) -> None:
    """And those that do not are killed at another signal, however long the drain may take."""
    async with launched() as launcher:
        workers = await all_serve(launcher)
        stopped = next(iter(workers))
        os.kill(stopped, signal.SIGSTOP)
        launcher._leave_seconds = 1_000.0
        launcher._asked_to_stop()
        await until(lambda: pids(launcher) == {stopped})
        assert exists(stopped)
    assert not exists(stopped)


async def test_a_terminal_that_is_closed_ends_it(launched: Launched) -> None:
    """It sends SIGHUP, as who wants new workers does."""
    controller, terminal = pty.openpty()
    stdin = os.dup(0)
    try:
        os.dup2(terminal, 0)
        os.close(terminal)
        async with launched() as launcher:
            workers = await all_serve(launcher)
            launcher._asked_to_replace()
            await until(lambda: not workers & pids(launcher))
            assert not launcher._over.is_set()
            os.close(controller)
            launcher._asked_to_replace()
            assert launcher._over.is_set()
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)

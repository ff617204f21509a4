"""What happens to workers that are processes."""

from __future__ import annotations

import os
import signal

from .engines import until_true
from .process import Launched
from .scene import WORKERS, Scene


async def worker_killed(scene: Scene) -> None:
    """SIGKILL; another one takes its place a second later."""
    await scene.processes[1].kill()
    await scene.lasts(1.0)
    await scene.replace(1, "n1")
    await scene.lasts(1.0)


async def worker_hangs(scene: Scene) -> None:
    """SIGSTOP for four seconds: all of it arrives then."""
    scene.processes[1].stall(stalled=True)
    await scene.lasts(4.0)
    scene.processes[1].stall(stalled=False)
    await scene.lasts(1.0)


async def cut_off_while_it_hangs(scene: Scene) -> None:
    """SIGSTOP; the engine keeps little for it, and ends its link in the end."""

    async def was_ended() -> bool:
        stats = await scene.primary.ask("INFO", "stats")
        return isinstance(stats, bytes) and b"client_output_buffer_limit_disconnections:0" not in stats

    await scene.primary.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 256kb 0 0")
    scene.processes[1].stall(stalled=True)
    await until_true(was_ended, 60)
    scene.processes[1].stall(stalled=False)
    await scene.lasts(2.0)


async def launched_worker_killed(scene: Scene) -> None:
    """SIGKILL: the launcher starts another one."""
    launched = _launched(scene)
    os.kill(scene.random.choice(launched.pids()), signal.SIGKILL)
    await _started(launched, WORKERS + 1)
    await scene.lasts(1.0)


async def launched_worker_hangs(scene: Scene) -> None:
    """SIGSTOP: the launcher kills it after ten seconds, and starts another one."""
    launched = _launched(scene)
    os.kill(scene.random.choice(launched.pids()), signal.SIGSTOP)
    await _started(launched, WORKERS + 1)
    await scene.lasts(1.0)


async def launched_engine_killed(scene: Scene) -> None:
    """SIGKILL: the launcher starts another one, without data."""
    (engine,) = _launched(scene).pids(engine=True)
    os.kill(engine, signal.SIGKILL)
    await scene.lasts(3.0)


async def launched_replaced(scene: Scene) -> None:
    """SIGHUP: all workers are replaced, one after the other."""
    launched = _launched(scene)
    launched.server._process.send_signal(signal.SIGHUP)
    await _started(launched, 2 * WORKERS)
    await scene.lasts(2.0)


def _launched(scene: Scene) -> Launched:
    assert scene.launched is not None
    return scene.launched


async def _started(launched: Launched, count: int) -> None:
    async def are_started() -> bool:
        return launched.started() >= count

    await until_true(are_started, 40)

"""What happens to workers that are processes."""

from __future__ import annotations

from .scene import Scene


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

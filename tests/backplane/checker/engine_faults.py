"""What happens to an engine."""

from __future__ import annotations

import asyncio

from .engines import until_true
from .scene import CHANNELS, Scene


async def hangs(scene: Scene) -> None:
    scene.primary.server.hang()
    await scene.lasts(2.0, brief=0.8)
    scene.primary.server.hang(stalled=False)


async def flushed(scene: Scene) -> None:
    await scene.primary.ask("FLUSHALL")


async def evicted(scene: Scene) -> None:
    """Keys go one after the other, as under a policy that evicts."""
    for channel in CHANNELS[:3]:
        await scene.primary.ask("DEL", f"fanwise:{{0}}:m:{channel}")
    await scene.lasts(0.5, brief=0.2)
    for channel in CHANNELS[1:4]:
        await scene.primary.ask("DEL", f"fanwise:{{0}}:h:{channel}")
    await scene.primary.ask("DEL", "fanwise:{0}:live")
    await scene.lasts(0.5, brief=0.2)
    await scene.primary.ask("DEL", "fanwise:{0}:shard")


async def out_of_memory(scene: Scene) -> None:
    await scene.primary.ask("CONFIG", "SET", "maxmemory", 1)
    await scene.lasts(1.0)
    await scene.primary.ask("CONFIG", "SET", "maxmemory", 0)


async def killed(scene: Scene) -> None:
    """Twice, and started again with what it has written."""
    for _ in range(1 if scene.brief else 2):
        scene.primary.server.kill()
        await scene.lasts(0.4, brief=0.1)
        scene.primary.server.restart()
        await scene.primary.server.ready()
        await scene.lasts(1.2)


async def killed_and_file_cut(scene: Scene) -> None:
    """It was promised that nothing is lost, and the end of the file is."""
    await scene.lasts(1.0)
    scene.primary.server.kill()
    scene.primary.cut_file()
    scene.primary.server.restart()


async def clock_set_back(scene: Scene) -> None:
    """An hour ahead, then an hour behind; the data is lost meanwhile, so that a generation begins in the past."""
    assert scene.clock is not None
    scene.clock.set(ahead_seconds=3_600)
    await scene.lasts(0.5, brief=0.1)
    await scene.primary.ask("FLUSHALL")
    await scene.lasts(1.0)
    scene.clock.set(ahead_seconds=-3_600)
    await scene.lasts(0.5, brief=0.1)
    await scene.primary.ask("FLUSHALL")
    await scene.lasts(1.0)


async def one_shard_down(scene: Scene) -> None:
    """Channels of the other one do not notice."""
    scene.primary.server.kill()
    await scene.lasts(3.0, brief=0.5)
    scene.primary.server.restart()


async def disk_full(scene: Scene) -> None:
    """The engine cannot write its file, and takes nothing until it can."""
    scene.primary.fill_disk(full=True)
    await scene.lasts(3.0, brief=1.5)
    scene.primary.fill_disk(full=False)


async def disk_full_and_killed(scene: Scene) -> None:
    """An engine that writes each frame before its answer ends itself; there is room when it starts again."""
    scene.primary.fill_disk(full=True)

    async def has_ended() -> bool:
        return scene.primary.server.process.poll() is not None

    await until_true(has_ended)
    scene.primary.server.restart()


async def password_changed(scene: Scene) -> None:
    """Nobody who connects is let in, until it is what it was."""
    await scene.primary.ask("ACL", "SETUSER", "default", "resetpass", ">another")
    scene.note("password changed")
    for gates in scene.gates:
        gates[0].cut()
    await scene.lasts(2.0, brief=0.6)
    await _as_operator(scene, "ACL", "SETUSER", "default", "nopass")


async def _as_operator(scene: Scene, *command: str) -> None:
    loop = asyncio.get_running_loop()

    def ask() -> None:
        import socket  # noqa: PLC0415

        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            link.connect(str(scene.primary.socket))
            for line in (("AUTH", "another"), command):
                link.sendall((" ".join(line) + "\r\n").encode())
                assert link.recv(100).startswith(b"+OK")

    await loop.run_in_executor(None, ask)

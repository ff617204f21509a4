"""What happens when another engine takes the place of the primary."""

from __future__ import annotations

from .engines import Engine, until_true
from .scene import Scene


async def promoted(scene: Scene) -> None:
    """The replica becomes the primary, and the old one is killed."""
    await scene.replicas[0].follow(None)
    _lead_to(scene, scene.replicas[0])
    scene.primary.server.kill()
    await scene.lasts(1.0)


async def promoted_late(scene: Scene) -> None:
    """Everybody goes on with the old primary for a second, and what it took then is gone."""
    new, old = scene.replicas[0], scene.primary
    await new.follow(None)
    await scene.lasts(1.0)
    _lead_to(scene, new)
    await old.follow(new)
    await scene.lasts(0.05)
    await old.kill_links()
    await scene.lasts(1.0)


async def promoted_and_all_new(scene: Scene) -> None:
    """And all workers are replaced meanwhile: nobody is left who knows what was lost."""
    new, old = scene.replicas[0], scene.primary
    await new.follow(None)
    await scene.lasts(0.4)
    for worker in scene.workers:
        await worker.stop()
    _lead_to(scene, new)
    old.server.kill()
    for place in range(len(scene.workers)):
        await scene.replace(place, f"n{place}")
    await scene.lasts(1.0)


async def split_in_two(scene: Scene) -> None:
    """One worker goes on with the new primary, the others with the old one for a while."""
    new, old = scene.replicas[0], scene.primary
    await new.follow(None)
    scene.gates[0][0].target = new.socket
    scene.gates[0][0].cut()
    await scene.lasts(1.5, brief=0.8)
    _lead_to(scene, new)
    await old.follow(new)
    for gates in scene.gates[1:]:
        gates[0].cut()
    await scene.lasts(1.0)


async def decided_by_sentinels(scene: Scene) -> None:
    """The primary is killed, and a majority of the sentinels promotes the replica."""
    scene.primary.server.kill()
    await _promoted(scene)
    await scene.lasts(2.0)


async def planned_by_an_operator(scene: Scene) -> None:
    """The sentinels are told to fail over, and the old primary becomes a replica."""
    await scene.sentinels[0].ask("SENTINEL", "FAILOVER", "main")
    await _promoted(scene)
    await _replica(scene, scene.primary)
    await scene.lasts(2.0)


async def decided_while_it_hangs(scene: Scene) -> None:
    """The primary hangs, is replaced, and comes back as if nothing had been."""
    scene.primary.server.hang()
    await _promoted(scene)
    await scene.lasts(1.0)
    scene.primary.server.hang(stalled=False)
    await _replica(scene, scene.primary)
    await scene.lasts(1.0)


async def _promoted(scene: Scene) -> None:
    """One of the replicas is the primary, and the other one follows it."""

    async def one_is_primary() -> bool:
        roles = sorted([await one.role() for one in scene.replicas])
        return roles == ["master", "slave"]

    await until_true(one_is_primary, 30)
    scene.note("promoted")
    for one in scene.replicas:
        if await one.role() == "slave":
            await one.in_sync()


async def _replica(scene: Scene, engine: Engine) -> None:
    async def is_replica() -> bool:
        return await engine.role() == "slave"

    await until_true(is_replica, 30)
    scene.note("demoted")


def _lead_to(scene: Scene, engine: Engine) -> None:
    for gates in scene.gates:
        gates[0].target = engine.socket

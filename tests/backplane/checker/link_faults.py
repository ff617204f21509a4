"""What happens to links."""

from __future__ import annotations

import asyncio

from ...support.live import until
from .gate import Gate, Pair
from .scene import CHANNELS, Scene


async def nothing(scene: Scene) -> None:
    await scene.lasts(3.0)


async def links_killed(scene: Scene) -> None:
    """By the engine, again and again."""
    for _ in range(5 if scene.brief else 25):
        await scene.primary.kill_links()
        await asyncio.sleep(scene.random.uniform(0.02, 0.25))


async def cut_after_sending(scene: Scene) -> None:
    """A frame has gone out, and the link breaks before its answer is read."""

    def cut(pair: Pair) -> None:
        pair.gate.on_frame = None
        asyncio.get_running_loop().call_later(0.0004, pair.cut)

    for _ in range(12 if scene.brief else 60):
        _gate(scene).on_frame = cut
        await asyncio.sleep(0.04)


async def answers_lost(scene: Scene) -> None:
    """A frame arrives, and its answer is never read."""

    def cut(pair: Pair) -> None:
        pair.gate.on_frame = None
        pair.cut()

    loop = asyncio.get_running_loop()
    ends_at = loop.time() + (0.5 if scene.brief else 2.5)  # on a busy machine, too: publications wait for 5 s at most
    while loop.time() < ends_at:
        _gate(scene).on_frame = cut
        await asyncio.sleep(0.04)


def _gate(scene: Scene) -> Gate:
    return scene.random.choice(scene.random.choice(scene.gates))


async def scripts_flushed(scene: Scene) -> None:
    await scene.primary.ask("SCRIPT", "FLUSH")


async def deaf(scene: Scene) -> None:
    """A worker's subscription is gone, again and again for 2.5 s."""
    for _ in range(1 if scene.brief else 5):
        scene.gates[1][0].deafen()
        await scene.lasts(0.5)


async def deaf_for_a_moment(scene: Scene) -> None:
    """Some frames are not pushed to a worker, and later ones are."""
    for _ in range(3 if scene.brief else 10):
        scene.gates[1][0].deafen()
        await asyncio.sleep(0.1)
        scene.gates[1][0].hear_again("fanwise:{0}:live")
        await asyncio.sleep(0.2)


async def deaf_and_trimmed(scene: Scene) -> None:
    """The live stream does not reach back to where a worker stopped hearing."""
    for _ in range(2 if scene.brief else 5):
        scene.gates[1][0].deafen()
        await asyncio.sleep(0.15)
        await scene.primary.ask("XTRIM", "fanwise:{0}:live", "MAXLEN", 1)
        await scene.lasts(0.8)


async def deaf_and_all_trimmed(scene: Scene) -> None:
    """Nor do the histories."""
    for _ in range(2 if scene.brief else 5):
        scene.gates[1][0].deafen()
        await asyncio.sleep(0.15)
        await scene.primary.ask("XTRIM", "fanwise:{0}:live", "MAXLEN", 1)
        for channel in CHANNELS:
            await scene.primary.ask("LTRIM", f"fanwise:{{0}}:h:{channel}", -1, -1)
        await scene.lasts(0.8)


async def partition_that_swallows(scene: Scene) -> None:
    """One worker is cut off for 20 s; what was on its way arrives then, of whatever connection it was."""
    scene.gates[0][0].hold()
    await scene.lasts(20.0, brief=1.2)
    scene.gates[0][0].release()
    await scene.lasts(2.0)


async def partition_that_resets(scene: Scene) -> None:
    """One worker is cut off for 20 s, and its attempts to connect are reset."""
    scene.gates[0][0].refuse(refusing=True)
    await scene.lasts(20.0, brief=1.2)
    scene.gates[0][0].refuse(refusing=False)
    await scene.lasts(1.0)


async def partition_of_all(scene: Scene) -> None:
    """The engine is cut off from everybody."""
    for one, *_ in scene.gates:
        one.hold()
    await scene.lasts(20.0, brief=1.2)
    for one, *_ in scene.gates:
        one.release()
    await scene.lasts(2.0)


async def held_again_and_again(scene: Scene) -> None:
    """A frame stays on its way until its worker has given up the link, and has sent others on the next one."""

    def hold(pair: Pair) -> None:
        pair.gate.before_frame = None
        pair.held = True

    for _ in range(2 if scene.brief else 6):
        one = _gate(scene)
        one.before_frame = hold
        others = one.frames + 4
        await until(lambda one=one, others=others: one.frames >= others)  # type: ignore[misc]
        one.release()
        await asyncio.sleep(0.2)

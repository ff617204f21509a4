"""What happens to NATS: its servers, its streams, and a leader in a cluster."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

from fanwise.backplane.nats.dial import ApiError, api

from ...support.live import until
from ...support.nats import NatsServer
from .engines import until_true
from .scene import Scene


async def hangs(scene: Scene) -> None:
    scene.nats[0].hang()
    await scene.lasts(2.0, brief=0.8)
    scene.nats[0].hang(stalled=False)


async def killed(scene: Scene) -> None:
    """All servers, twice, and started again with what they have written."""
    for _ in range(1 if scene.brief else 2):
        for server in scene.nats:
            server.kill()
        await scene.lasts(0.4, brief=0.1)
        for server in scene.nats:
            server.restart()
        await scene.lasts(1.2)


async def killed_and_store_older(scene: Scene) -> None:
    """It was promised that nothing is lost, and the store is that of a second before."""
    server = scene.nats[0]
    server.kill()
    shutil.copytree(server.folder / "store", server.folder / "older")
    server.restart()
    heard = [len(reader.bodies) for reader in scene.readers]
    await until(lambda: any(len(reader.bodies) > count for reader, count in zip(scene.readers, heard, strict=True)))
    await scene.lasts(1.0)
    server.kill()
    shutil.rmtree(server.folder / "store")
    (server.folder / "older").rename(server.folder / "store")
    server.restart()
    await scene.lasts(1.0)


async def stream_deleted(scene: Scene) -> None:
    """By an operator, again and again."""
    for _ in range(1 if scene.brief else 4):
        async with scene.nats[0].link() as link:
            await api(link, f"STREAM.DELETE.{await _stream(link)}")
        await scene.lasts(1.0)


async def stream_purged(scene: Scene) -> None:
    """By an operator, while a worker is behind."""
    for _ in range(1 if scene.brief else 4):
        scene.gates[1][0].hold(new=False)
        await scene.lasts(0.2)
        async with scene.nats[0].link() as link:
            await api(link, f"STREAM.PURGE.{await _stream(link)}")
        scene.gates[1][0].release()
        await scene.lasts(0.8)


async def leader_gone(scene: Scene) -> None:
    """The server that leads the stream is killed; the others choose another one, and it comes back."""
    leader = await _leader(scene.nats)
    leader.kill()
    await until_true(lambda: _has_other(scene.nats, leader))
    scene.note("another leader")
    await scene.lasts(2.0)
    leader.restart()
    await leader.ready()
    await scene.lasts(2.0)


async def leader_steps_down(scene: Scene) -> None:
    """As in a rolling upgrade, again and again."""
    for _ in range(1 if scene.brief else 4):
        async with scene.nats[0].link() as link:
            await api(link, f"STREAM.LEADER.STEPDOWN.{await _stream(link)}")
        await scene.lasts(1.0)


async def _has_other(servers: list[NatsServer], gone: NatsServer) -> bool:
    return await _leader([server for server in servers if server is not gone]) is not gone


async def _leader(servers: list[NatsServer]) -> NatsServer:
    """Raises ConnectionError if there is none."""
    async with servers[0].link() as link, asyncio.timeout(1.0):  # a question that nobody leads is not answered
        try:
            info = await api(link, f"STREAM.INFO.{await _stream(link)}")
        except ApiError as error:
            raise ConnectionError(str(error)) from error
        name = info["cluster"].get("leader", "")
    for server in servers:
        async with server.link() as link:
            if link.info["server_name"] == name:
                return server
    raise ConnectionError("none of them leads")


async def _stream(link: Any) -> str:
    found = await api(link, "STREAM.NAMES", {"subject": "fanwise.c.>"})
    if not found["streams"]:
        raise ConnectionError("there is no stream")
    return str(found["streams"][0])

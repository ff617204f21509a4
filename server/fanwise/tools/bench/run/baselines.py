"""The rivals of `--against`: the loop of the tutorials, and a queue and a task for each client."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from ...load.tutorial import TutorialLoop

QUEUE_MESSAGES = 1024  # as many as a client of Fanwise may be behind

tutorial = FastAPI()
_loops: defaultdict[str, TutorialLoop] = defaultdict(TutorialLoop)  # {channel: its loop}


@tutorial.websocket("/ws")
async def tutorial_loop(websocket: WebSocket, channel: str = "lobby") -> None:
    """Publishes each text to the clients of its channel, the sender included."""
    loop = _loops[channel]
    async with loop.joined(websocket):
        async for text in websocket.iter_text():
            await loop.publish(f"Message: {text}")


queue_and_task = FastAPI()
_queues: defaultdict[str, dict[asyncio.Queue[str], asyncio.Task[None]]] = defaultdict(
    dict
)  # {channel: {queue: writer}}


@queue_and_task.websocket("/ws")
async def queue_loop(websocket: WebSocket, channel: str = "lobby") -> None:
    """A bounded queue and a writer task for each client; who overflows is closed."""
    await websocket.accept()
    queues = _queues[channel]
    queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_MESSAGES)
    queues[queue] = asyncio.create_task(_write(websocket, queue))
    try:
        while True:
            text = await websocket.receive_text()
            for other in list(queues):
                try:
                    other.put_nowait(f"Message: {text}")
                except asyncio.QueueFull:
                    queues.pop(other).cancel()
    except WebSocketDisconnect:
        pass
    finally:
        if writer := queues.pop(queue, None):
            writer.cancel()


async def _write(websocket: WebSocket, queue: asyncio.Queue[str]) -> None:
    try:
        while True:
            await websocket.send_text(await queue.get())
    except asyncio.CancelledError:
        with suppress(WebSocketDisconnect, RuntimeError):  # of one that left by itself nothing is there to close
            await websocket.close(4008, "slow: the queue overflowed")
        raise
    except WebSocketDisconnect:
        return

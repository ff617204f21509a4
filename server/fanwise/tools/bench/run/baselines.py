"""What Fanwise is measured against: the loop of every tutorial, and the queue and task per client that follows it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

QUEUE_MESSAGES = 1024  # as many as a client of Fanwise may be behind

tutorial = FastAPI()
_clients: defaultdict[str, list[WebSocket]] = defaultdict(list)  # {channel: clients}


@tutorial.websocket("/ws")
async def tutorial_loop(websocket: WebSocket, channel: str = "lobby") -> None:
    """Awaits one client after the other: each waits for all before it."""
    await websocket.accept()
    clients = _clients[channel]
    clients.append(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            for client in clients:
                await client.send_text(f"Message: {text}")
    except WebSocketDisconnect:
        pass
    finally:
        clients.remove(websocket)


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

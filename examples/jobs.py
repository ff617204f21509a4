"""Progress of long jobs: an event stream that goes on where a browser has lost it, for the owner of the job alone."""

import asyncio
from secrets import token_hex
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.requests import HTTPConnection

from fanwise import Broadcaster, User

USERS = {"session-of-ada": User("ada"), "session-of-bob": User("bob")}  # {session: user}; no id contains "/"
STEPS = 10
broadcaster = Broadcaster()
app = FastAPI(lifespan=broadcaster.lifespan)


def current_user(connection: HTTPConnection) -> User:
    """Returns the user of a session, whose cookie an `EventSource` of the browser sends too."""
    user = USERS.get(connection.cookies.get("session", ""))
    if user is None:
        raise HTTPException(401, "this asks for a session")
    return user


Owner = Annotated[User, Depends(current_user)]


async def work(channel: str) -> None:
    """Works, and says how far it is."""
    for step in range(1, STEPS + 1):
        await asyncio.sleep(0.05)
        await broadcaster.publish(channel, {"done": step, "of": STEPS}, key="progress")


@app.post("/jobs", status_code=202)
async def begin(owner: Owner, tasks: BackgroundTasks) -> str:
    job = token_hex(8)
    tasks.add_task(work, f"jobs/{owner.id}/{job}")
    return job


@app.get("/jobs/{job}/events")
async def progress(request: Request, job: str, owner: Owner) -> Response:
    """Streams a job of the user's own: the name of the channel begins with the owner."""
    return broadcaster.stream(request, f"jobs/{owner.id}/{job}", user=owner)


@app.websocket("/ws")
async def all_jobs(websocket: WebSocket, owner: Owner) -> None:
    """Serves a page that shows several jobs on one connection."""
    await broadcaster.serve(websocket, user=owner, channels=[f"jobs/{owner.id}/*"], may_publish=False)

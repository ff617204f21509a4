"""A chat: a signed token (JWT) says who a user is and which rooms are open to the user.

A client listens at `/ws` (the JSON dialect: subscribe with `since` to resume) or `/rooms/ROOM/events`, and writes with
`POST /rooms/ROOM`: the server adds the author. The claims are sub, exp, rooms and, for those who may write, writer.
"""

import os
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.requests import HTTPConnection
from pydantic import BaseModel, Field

from fanwise import Broadcaster

KEY = os.environ["CHAT_KEY"]  # at least 32 bytes, shared with the service that signs the tokens
broadcaster = Broadcaster()
app = FastAPI(lifespan=broadcaster.lifespan)


class Text(BaseModel):
    text: str = Field(max_length=4000)


def claims(connection: HTTPConnection) -> dict[str, Any]:
    """Returns the claims of a valid token: from the header, or from the cookie that a browser sends by itself."""
    token = connection.headers.get("authorization", "").removeprefix("Bearer ") or connection.cookies.get("token", "")
    try:
        found: dict[str, Any] = jwt.decode(token, KEY, algorithms=["HS256"], options={"require": ["sub", "exp"]})
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, f"this asks for a token: {error}") from error
    return found


Claims = Annotated[dict[str, Any], Depends(claims)]


@app.websocket("/ws")
async def listen(websocket: WebSocket, user: Claims) -> None:
    rooms = [f"room.{name}" for name in user["rooms"]]
    await broadcaster.serve(websocket, user=user["sub"], channels=rooms, may_publish=False)


@app.get("/rooms/{room}/events")
async def events(request: Request, room: str, user: Claims) -> Response:
    return broadcaster.stream(request, f"room.{room}", user=user["sub"], may_subscribe=room in user["rooms"])


@app.post("/rooms/{room}", status_code=201)
async def write(room: str, message: Text, user: Claims) -> str:
    if room not in user["rooms"] or not user.get("writer"):
        raise HTTPException(403, f"you may not write in {room}")
    publication = await broadcaster.publish(f"room.{room}", {"from": user["sub"], "text": message.text})
    return str(publication.position)

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

from fanwise import Broadcaster, User

KEY = os.environ["CHAT_KEY"]  # at least 32 bytes, shared with the service that signs the tokens
broadcaster = Broadcaster()
app = FastAPI(lifespan=broadcaster.lifespan)


class Text(BaseModel):
    text: str = Field(max_length=4000)


def read_claims(connection: HTTPConnection) -> dict[str, Any]:
    """Returns the claims of a valid token: from the header, or from the cookie that a browser sends by itself."""
    token = connection.headers.get("authorization", "").removeprefix("Bearer ") or connection.cookies.get("token", "")
    try:
        found: dict[str, Any] = jwt.decode(token, KEY, algorithms=["HS256"], options={"require": ["sub", "exp"]})
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, f"this asks for a token: {error}") from error
    return found


def user_of(claims: dict[str, Any]) -> User:
    return User(claims["sub"], expires_at=claims["exp"])  # whose clients are closed then, with 4013


Claims = Annotated[dict[str, Any], Depends(read_claims)]


@app.websocket("/ws")
async def listen(websocket: WebSocket, claims: Claims) -> None:
    rooms = [f"room.{name}" for name in claims["rooms"]]
    await broadcaster.serve(websocket, user=user_of(claims), channels=rooms, may_publish=False)


@app.get("/rooms/{room}/events")
async def events(request: Request, room: str, claims: Claims) -> Response:
    return broadcaster.stream(request, f"room.{room}", user=user_of(claims), may_subscribe=room in claims["rooms"])


@app.post("/rooms/{room}", status_code=201)
async def write(room: str, message: Text, claims: Claims) -> str:
    if room not in claims["rooms"] or not claims.get("writer"):
        raise HTTPException(403, f"you may not write in {room}")
    publication = await broadcaster.publish(f"room.{room}", {"from": claims["sub"], "text": message.text})
    return str(publication.position)

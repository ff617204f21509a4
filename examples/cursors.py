"""Shared cursors: members of a board see where the others point, and nobody can point in another's name."""

from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.requests import HTTPConnection
from pydantic import BaseModel, ValidationError

from fanwise import Broadcaster, ChannelOptions, Client, CloseReason, User

SESSIONS = {"session-of-ada": User("ada", {"colour": "red"}), "session-of-bob": User("bob", {"colour": "blue"})}
BOARDS = {"plan": {"ada", "bob"}, "diary": {"ada"}}  # {board: ids of its members}
CURSORS = ChannelOptions(overflow="latest", queue_messages=100)  # those who are slow get the newest place of each
broadcaster = Broadcaster(channels={"boards/*": CURSORS})
app = FastAPI(lifespan=broadcaster.lifespan)


class Place(BaseModel):
    x: float
    y: float


def member(board: str, connection: HTTPConnection) -> User:
    """Returns the user of a session, who has to be a member of the board that the path names."""
    user = SESSIONS.get(connection.cookies.get("session", ""))
    if user is None:
        raise HTTPException(401, "this asks for a session")
    if user.id not in BOARDS.get(board, ()):
        raise HTTPException(403, "only members of a board may see it")
    return user


Member = Annotated[User, Depends(member)]


@app.websocket("/boards/{board}/ws")
async def point(websocket: WebSocket, board: str, user: Member) -> None:
    async def move(client: Client, message: str | bytes) -> None:
        try:
            place = Place.model_validate_json(message)
        except ValidationError:
            client.close(CloseReason.REFUSED, text="a message is {x, y}")
            return
        await broadcaster.publish(f"boards/{board}", {"user": user.id, **place.model_dump()}, key=user.id)

    await broadcaster.attach(websocket, move, channel=f"boards/{board}", user=user)


@app.get("/boards/{board}", dependencies=[Depends(member)])
async def here(board: str) -> list[str]:
    return [user.id for user in (await broadcaster.presence(f"boards/{board}")).members]


@app.get("/boards/{board}/events")
async def watch(request: Request, board: str, user: Member) -> Response:
    return broadcaster.stream(request, f"boards/{board}", user=user)

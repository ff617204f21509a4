"""Rights are asked wherever something is read or published: on the ready-made routes, and in routes of applications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI, Request, Response, WebSocket
from starlette.requests import HTTPConnection
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from fanwise import Broadcaster, User
from fanwise.core.codes import ErrorCode
from fanwise.core.rights import HISTORY, PUBLISH, SUBSCRIBE, Action
from fanwise.routes import Access
from fanwise.routes.router import build_door

from ..support.live import Live, running, until

pytestmark = pytest.mark.anyio

USER = {"X-User": "ada"}
BOB = {"id": "bob", "info": {"name": "Bob"}, "expires_at": None}
SINCE = {"epoch": "0", "offset": 1}


class Doorkeeper:
    """Allows all but what it is told not to."""

    def __init__(self, *, waits: bool) -> None:
        self.denied: set[Action] = set()
        self.asked: set[tuple[str | None, str]] = set()  # (user's id, channel)
        self._waits = waits

    def authorise(self, user: User | None, action: Action, channel: str) -> bool | Awaitable[bool]:
        self.asked.add((None if user is None else user.id, channel))
        return self._later(action) if self._waits else action not in self.denied

    async def _later(self, action: Action) -> bool:
        await asyncio.sleep(0)
        return action not in self.denied

    def may(self, action: Action) -> Callable[[User | None, str], bool | Awaitable[bool]]:
        return lambda user, channel: self.authorise(user, action, channel)


async def soon(answer: bool) -> bool:
    return answer


def identify(connection: HTTPConnection) -> str | None:
    return connection.headers.get("x-user")


@asynccontextmanager
async def serving(keeper: Doorkeeper, *, fast: bool = True) -> AsyncIterator[tuple[Live, Broadcaster]]:
    """The ready-made routes behind a doorkeeper; in routes of an application, one that is asked by other functions."""
    broadcaster = Broadcaster(access=Access(identify=identify, authorise=keeper.authorise), trim_heap=False)
    other = Broadcaster(trim_heap=False)
    app = FastAPI(lifespan=other.lifespan)
    app.include_router(broadcaster.router)
    reads: dict[str, Any] = {"may_subscribe": keeper.may(SUBSCRIBE), "may_history": keeper.may(HISTORY)}

    @app.websocket("/own/ws")
    async def serve(websocket: WebSocket) -> None:
        await broadcaster.serve(websocket, user="ada")

    @app.websocket("/functions/ws")
    async def serve_by_functions(websocket: WebSocket) -> None:
        await other.serve(websocket, user="ada", **reads, may_publish=keeper.may(PUBLISH))

    @app.get("/own/sse/{channel}")
    async def stream(request: Request, channel: str) -> Response:
        return broadcaster.stream(request, channel, user="ada")

    @app.get("/functions/sse/{channel}")
    async def stream_by_functions(request: Request, channel: str) -> Response:
        return other.stream(request, channel, user="ada", **reads)

    async with running(app, fast=fast) as live:
        yield live, broadcaster


Ask = Callable[[Live], Awaitable[bool]]  # returns whether it was allowed


def op(path: str, **fields: Any) -> Ask:
    async def ask(live: Live) -> bool:
        async with await live.talk(path=path, additional_headers=USER) as talk:
            answer = await talk.ask(channel="a", **fields)
            assert answer["op"] != "error" or answer["code"] == "forbidden", answer
            await talk.say(op="unsubscribe", channel="b")
            while (await talk.hear()).get("code") != "not_subscribed":  # the connection lives
                continue
            return bool(answer["op"] != "error")

    return ask


def plain(path: str, text: str = "") -> Ask:
    async def ask(live: Live) -> bool:
        try:
            async with await live.connect(f"{path}?channel=a", additional_headers=USER) as peer:
                if text:
                    await peer.send(text)
                    await peer.recv()
        except InvalidStatus as refused:
            found = refused.response
            return (found.status_code, b"this user has no right to" in bytes(found.body)) != (403, True)
        except ConnectionClosedError as closed:
            return closed.rcvd is None or closed.rcvd.code != 4502
        return True

    return ask


def stream(path: str, **headers: str) -> Ask:
    async def ask(live: Live) -> bool:
        given = {**USER, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with live.events(path, headers=given) as events:
            status = int(events.head.split()[1])
            assert status in (200, 403)
            return status == 200

    return ask


def request(method: str, path: str, body: bytes = b"", **headers: str) -> Ask:
    async def ask(live: Live) -> bool:
        answer = await live.request(method, path, body, headers={**USER, **headers})
        if body.startswith(b"["):
            (result,) = answer.json["results"]
            assert result.get("error", {"code": "forbidden"})["code"] == "forbidden"
            return "error" not in result
        assert answer.status == 200 or (answer.status, answer.code) == (403, "forbidden")
        return answer.status == 200

    return ask


READ, AGAIN = {SUBSCRIBE}, {SUBSCRIBE, HISTORY}
BATCH = b'[{"channel": "a", "data": 1}]'
ASKS: list[tuple[set[Action], Ask]] = [
    *((READ, op(f"{place}/ws", op="subscribe")) for place in ("", "/own", "/functions")),
    *((AGAIN, op(f"{place}/ws", op="subscribe", since=SINCE)) for place in ("", "/own", "/functions")),
    *(({PUBLISH}, op(f"{place}/ws", op="publish", data=1)) for place in ("", "/own", "/functions")),
    *((READ, plain(f"{place}/ws")) for place in ("", "/own", "/functions")),
    *((READ | {PUBLISH}, plain(f"{place}/ws", "hello")) for place in ("", "/own", "/functions")),
    *((READ, stream(f"{place}/sse/a")) for place in ("", "/own", "/functions")),
    *((AGAIN, stream(f"{place}/sse/a", Last_Event_ID="0:1")) for place in ("", "/own", "/functions")),
    *((AGAIN, stream(f"{place}/sse/a?since=0:1")) for place in ("", "/own", "/functions")),
    ({HISTORY}, request("GET", "/channels/a/history")),
    ({PUBLISH}, request("POST", "/publish/a", b"hello")),
    ({PUBLISH}, request("POST", "/publish", BATCH, **{"Content-Type": "application/json"})),
]


@pytest.mark.parametrize(
    ("fast", "waits"), [(True, False), (True, True), (False, True)], ids=["functions", "coroutines", "plain ASGI"]
)
async def test_each_right_is_asked_wherever_it_is_used(fast: bool, waits: bool) -> None:
    """What one action needs is refused without it, and allowed whatever else is denied."""
    keeper = Doorkeeper(waits=waits)
    async with serving(keeper, fast=fast) as (live, broadcaster):
        await broadcaster.publish("a", "something to read")
        for number, (needed, ask) in enumerate(ASKS):
            for action in needed:
                keeper.denied = {action}
                assert not await ask(live), f"{number} does not ask for {action}"
            keeper.denied = set(Action) - needed
            assert await ask(live), number
    assert keeper.asked == {("ada", "a")}


async def test_refusals_publish_nothing_and_are_counted() -> None:
    """In a batch the other entries are published; a refused one has its error."""
    keeper = Doorkeeper(waits=False)
    async with serving(keeper) as (live, broadcaster):
        keeper.denied = {PUBLISH}
        for needed, ask in ASKS:
            if PUBLISH in needed:
                await ask(live)
        assert broadcaster.tally.publications == 0
        assert broadcaster.tally.rejected[ErrorCode.FORBIDDEN] >= 5


async def test_rights_can_be_taken_away() -> None:
    """They are asked each time; no connection is closed for that, but a plain one that publishes."""
    keeper = Doorkeeper(waits=False)
    async with serving(keeper) as (live, broadcaster), await live.talk(path="/own/ws") as talk:
        peer = await live.connect("/own/ws")
        assert (await talk.ask(op="publish", channel="a", data=1))["op"] == "published"
        await peer.send("Hello")
        assert await peer.recv() == "Hello"
        keeper.denied = {PUBLISH}
        assert (await talk.ask(op="publish", channel="a", data=1, id=7))["code"] == "forbidden"
        await peer.send("Hello")
        await peer.wait_closed()
        assert (peer.close_code, peer.close_reason) == (4502, "forbidden: this user has no right to do that")
        keeper.denied = set()
        assert (await talk.ask(op="publish", channel="a", data=1))["op"] == "published"
        assert broadcaster.statistics().closed == {"forbidden": 1}


async def test_texts_that_come_together_are_asked_for_too() -> None:
    """A read that brings many is worked on at once where nobody is asked; here the first is refused, and ends it."""
    keeper = Doorkeeper(waits=False)
    async with serving(keeper) as (live, broadcaster):
        keeper.denied = {PUBLISH}
        loop = asyncio.get_running_loop()
        with await live.raw("/own/ws") as peer:
            await loop.sock_sendall(peer, b"\x81\x82\0\0\0\0hi" * 8)
            await until(lambda: broadcaster.statistics().closed == {"forbidden": 1})
        assert (broadcaster.tally.publications, broadcaster.tally.rejected[ErrorCode.FORBIDDEN]) == (0, 1)


async def test_a_client_has_no_task_unless_a_function_waits() -> None:
    """Its messages are worked on where they come in, and the endpoint has returned."""
    async with serving(Doorkeeper(waits=False)) as (live, broadcaster):
        before = len(asyncio.all_tasks())
        async with await live.talk(path="/own/ws") as talk, await live.connect("/own/ws") as peer:
            await talk.ask(op="subscribe", channel="a")
            await talk.ask(op="publish", channel="a", data=1)
            await peer.send("Hello")
            assert await peer.recv() == "Hello"
            await until(lambda: not live.server.server_state.tasks)
            clients = [client.task for client in broadcaster._registry]
            assert clients == [None, None]
            ours = {task.get_coro().__qualname__ for task in asyncio.all_tasks() if task.get_coro() is not None}  # type: ignore[union-attr]
            assert not {name for name in ours if "Intake" in name or "run_asgi" in name}
            assert len(asyncio.all_tasks()) <= before + 4, "two peers of this test have tasks"


async def test_messages_wait_for_the_one_that_waits() -> None:
    """Coroutines of rights keep the order in which a client has sent, and its connection goes on after a refusal."""
    keeper = Doorkeeper(waits=True)
    async with serving(keeper) as (live, _), await live.talk(path="/own/ws") as talk:
        await talk.ask(op="subscribe", channel="a")
        for number in range(20):
            await talk.say(op="publish", channel="a", data=number, id=number)
        heard = [await talk.hear() for _ in range(40)]
        assert [one["id"] for one in heard if one["op"] == "published"] == list(range(20))
        assert [one["data"] for one in heard if one["op"] == "message"] == list(range(20))


async def test_no_door_leads_past_the_rights() -> None:
    """Routes that ask who a user is are not answered before the application."""
    asking = Broadcaster(access=Access(authorise=lambda _user, _action, _channel: False))
    door = build_door(asking, asking.router)
    assert not door._routes
    assert door.streams is not None
    assert not door.streams._routes
    other = Broadcaster()
    assert build_door(other, other.router)._routes


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_operators_see_users(fast: bool) -> None:
    """In the list of clients with what others may know; of those that have gone, the id."""
    broadcaster = Broadcaster(access=Access(identify=identify), trim_heap=False)
    app = FastAPI()
    app.include_router(broadcaster.router)
    bob = User("bob", {"name": "Bob"})

    @app.websocket("/connect")
    async def connect(websocket: WebSocket) -> None:
        async with broadcaster.connect(websocket, channel="a", user=bob) as client:
            async for _ in client:
                pass

    @app.websocket("/attach")
    async def attach(websocket: WebSocket) -> None:
        await broadcaster.attach(websocket, lambda _client, _message: None, channel="a", user=bob)

    @app.websocket("/serve")
    async def serve(websocket: WebSocket) -> None:
        await broadcaster.serve(websocket, user=bob)

    @app.get("/stream")
    async def stream(request: Request) -> Response:
        return broadcaster.stream(request, "a", user=bob)

    async def seen(live: Live) -> list[Any]:
        return [client["user"] for client in (await live.request("GET", "/clients")).json["clients"]]

    async with running(app, fast=fast) as live:
        for path in ("/connect", "/attach", "/serve"):
            async with await live.connect(path):
                await until(lambda: len(broadcaster) == 1)
                assert await seen(live) == [BOB]
            await until(lambda: len(broadcaster) == 0)
        async with live.events("/stream"), live.events("/sse/a", headers=USER):
            await until(lambda: len(broadcaster) == 2)
            assert BOB in (users := await seen(live))
            assert {"id": "ada", "info": None, "expires_at": None} in users
        async with await live.connect("/ws"):
            await until(lambda: any(client.user is None for client in broadcaster.statistics().clients))
        await until(lambda: len(broadcaster) == 0)
        closed = (await live.request("GET", "/clients")).json["closed"]
        assert [one["user"] for one in closed][:1] == [None]
        assert {one["user"] for one in closed} == {None, "ada", "bob"}
        assert (await live.request("GET", "/stats")).json["closed_clients"][-1]["user"] == "bob"


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_the_ready_made_endpoint_in_a_route_of_ones_own(fast: bool) -> None:
    """Both dialects, the channels that it names, a template, and pages of this host only."""
    broadcaster = Broadcaster(trim_heap=False)
    app = FastAPI(lifespan=broadcaster.lifespan)

    @app.websocket("/rooms/{room}")
    async def endpoint(websocket: WebSocket, room: str) -> None:
        channels = ["news.*", f"room.{room}"]
        await broadcaster.serve(websocket, channels=channels, template="<{text}>", max_subscriptions=2)

    async with (
        running(app, fast=fast) as live,
        await live.connect("/rooms/7") as peer,
        await live.talk(path="/rooms/7") as talk,
    ):
        assert talk.welcome["max_subscriptions"] == 2
        assert (await talk.ask(op="subscribe", channel="room.7"))["op"] == "subscribed"
        assert (await talk.ask(op="subscribe", channel="room.8"))["code"] == "forbidden"
        assert (await talk.ask(op="publish", channel="lobby", data=1))["code"] == "forbidden"
        await until(lambda: len(broadcaster) == 2)
        await peer.send("Hello")
        assert (await peer.recv(), (await talk.hear())["data"]) == ("<Hello>", "<Hello>")
        assert (await talk.ask(op="subscribe", channel="news.eu"))["op"] == "subscribed"
        for path, origin, status in (
            ("/rooms/7?channel=lobby", None, 403),
            ("/rooms/7?channel=no%20good", None, 400),
            ("/rooms/a%20b", None, 400),
            ("/rooms/7", "http://evil.com", 403),
        ):
            with pytest.raises(InvalidStatus) as caught:
                await live.connect(path, origin=origin)
            assert caught.value.response.status_code == status


async def test_the_event_stream_in_a_route_of_ones_own() -> None:
    """As on the ready-made route: position, format, refusals, and the background tasks of the endpoint."""
    broadcaster = Broadcaster(trim_heap=False)
    app = FastAPI(lifespan=broadcaster.lifespan)

    done: list[str] = []

    @app.get("/jobs/{channel}")
    async def jobs(request: Request, channel: str, tasks: BackgroundTasks, deny: str = "") -> Response:
        tasks.add_task(done.append, channel)
        return broadcaster.stream(request, channel, may_subscribe=lambda _user, _channel: soon(not deny))

    async with running(app) as live:
        first = await broadcaster.publish("1", {"percent": 10})
        await broadcaster.publish("1", {"percent": 20})
        async with live.events(f"/jobs/1?since={first.position}&format=json") as events:
            begin, event = await events.next(), await events.next()
            assert begin is not None
            assert event is not None
            assert (begin.name, '"data":{"percent":20}' in event.data) == ("subscribed", True)
            await until(lambda: not live.server.server_state.tasks)  # it has left the application
            assert done == ["1"]
        for path, headers, refused in (
            ("/jobs/1?deny=yes", {}, (403, "forbidden")),
            ("/jobs/a%20b", {}, (400, "bad_channel")),
            ("/jobs/1?since=x", {}, (400, "bad_position")),
            ("/jobs/1", {"Last-Event-ID": "x"}, (400, "bad_position")),
            ("/jobs/1?format=xml", {}, (400, "bad_request")),
            ("/jobs/1", {"Origin": "http://evil.com"}, (403, "bad_origin")),
        ):
            answer = await live.request("GET", path, headers=headers)
            assert (answer.status, answer.code) == refused
        assert broadcaster.tally.rejected[ErrorCode.BAD_POSITION] == 2


async def test_a_key_of_one_user_is_no_key_of_another() -> None:
    """Who guesses an Idempotency-Key can neither use it up nor learn what it was used for."""
    async with serving(Doorkeeper(waits=False)) as (live, _):
        answers = [
            await live.request("POST", "/publish/a", body, headers={"X-User": user, "Idempotency-Key": "K1"})
            for user, body in (("ada", b"one"), ("eve", b"two"), ("ada", b"one"), ("ada", b"two"))
        ]
        assert [answer.status for answer in answers] == [200, 200, 200, 422]
        assert answers[0].body == answers[2].body != answers[1].body

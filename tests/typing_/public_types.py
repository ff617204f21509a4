"""Typical uses of the public names, which mypy checks strictly: their types are part of what users rely on."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, assert_type

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from fanwise import Action, Broadcaster, ChannelOptions, Client, CloseReason, FanwiseError, Position, Publication, User
from fanwise.client import FanwiseClient, Gap, Message
from fanwise.logs import log_config
from fanwise.routes import Access, build_router
from fanwise.testing import Isolation, ReadingClient, Server, SlowClient, serving


async def an_endpoint(broadcaster: Broadcaster, websocket: WebSocket) -> None:
    async with broadcaster.connect(websocket, channel="lobby", since=Position("7b54f2d7a4f4", 1)) as client:
        assert_type(client, Client)
        async for message in client:
            assert_type(message, str | bytes)
            await broadcaster.publish("lobby", message)
        client.close(CloseReason.OPERATOR)


async def a_publisher(broadcaster: Broadcaster) -> None:
    assert_type(await broadcaster.publish("lobby", {"eur": 1.08}, key="eur"), Publication)
    assert_type(broadcaster.publish_nowait("lobby", b"bytes"), Publication)
    assert_type(broadcaster.publish_threadsafe("lobby", "text"), Future[Publication])
    assert_type(CloseReason.SLOW.code, int)
    assert_type(CloseReason.SLOW.reconnect, bool)


async def who_may(user: User | None, channel: str) -> bool:
    return user is not None and channel.startswith(user.id)


async def an_endpoint_with_rights(broadcaster: Broadcaster, websocket: WebSocket) -> None:
    await broadcaster.serve(
        websocket, user=User("ada", {"name": "Ada"}), channels=["room.*"], may_subscribe=who_may, may_publish=False
    )


def an_event_stream(broadcaster: Broadcaster, request: Request) -> Response:
    return broadcaster.stream(request, "jobs.7", user="ada", may_subscribe=lambda user, _channel: user is not None)


def may(user: User | None, action: Action, channel: str) -> bool:
    return action is Action.PUBLISH and user is not None and channel == user.id


def a_guarded_broadcaster() -> Broadcaster:
    return Broadcaster(access=Access(identify=lambda connection: connection.headers.get("x-user"), authorise=may))


def channels_with_options() -> Broadcaster:
    cursors = ChannelOptions(overflow="latest", history_messages=0, publishes_per_second=20)
    return Broadcaster(channels={"cursor.*": cursors, "*": ChannelOptions(create="nobody")})


def an_application(broadcaster: Broadcaster) -> FastAPI:
    app = FastAPI(lifespan=broadcaster.lifespan)
    assert_type(broadcaster.router, APIRouter)
    assert_type(build_router(broadcaster, page=True), APIRouter)
    app.include_router(broadcaster.router)
    assert_type(log_config("info", "json", secrets=["key"]), dict[str, Any])
    return app


def on_gap(gap: Gap) -> None:
    assert_type(gap.channel, str)
    assert_type(gap.first, int)


async def a_client() -> None:
    try:
        async with FanwiseClient("ws://127.0.0.1:8000/ws", on_gap=on_gap) as client:
            assert_type(client, FanwiseClient)
            await client.subscribe("lobby")
            assert_type(await client.publish("lobby", {"hello": "world"}), Position)
            async for message in client:
                assert_type(message, Message)
                assert_type(message.offset, int)
    except FanwiseError:
        return


def a_test_of_an_application(fanwise_server: Server) -> None:
    assert_type(fanwise_server.slow_client("/ws", rate=1000, headers={"X-User": "ada"}), SlowClient)
    with fanwise_server.reading_client(subprotocol="fanwise.v1") as client:
        assert_type(client, ReadingClient)
        client.send_json(op="subscribe", channel="lobby")
        assert_type(client.receive(within_seconds=1), str | bytes)
        assert_type(client.wait_closed(), int | None)
    assert_type(fanwise_server.burst_publisher(100, channel="lobby"), list[str])
    assert_type(fanwise_server.run(fanwise_server.broadcaster.publish("lobby", 1)), Publication)
    assert_type(fanwise_server.call(len, "lobby"), int)
    assert_type(fanwise_server.assert_isolated(p99_ms=100, publications=10), Isolation)
    fanwise_server.assert_dropped(client, within_seconds=5, cause="slow")


def a_second_server(app: FastAPI) -> int:
    with serving(app, broadcaster=Broadcaster(), loop="asyncio") as server:
        assert_type(server, Server)
        return server.port

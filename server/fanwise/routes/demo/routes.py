"""The demo over HTTP: `GET`, `PUT` and `DELETE /demo`, and the WebSocket of the tutorial loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response
from starlette.websockets import WebSocket

from ...broadcaster.node import Node
from ...core.codes import CodedError, ErrorCode
from ...core.rights import Action
from ...transport.proxies import is_passed_on
from ..auth.credentials import Read
from ..auth.guards import REFUSED, REFUSED_WITH_KEY, Access, operator_guards, site_guard
from ..bodies import read_body
from ..problems import errors, json_response, list_problems, make_router, turn_away
from .controller import DemoController
from .plan import Plan
from .run import CHANNEL
from .side import Mode
from .story import Phase
from .target import credentials_of, find_target, is_local, why_not

ROUTE = "/demo"
NO_DEMO = "this server has no demo"
NOT_FOR_OTHERS = (
    "the demo is for those who reach the server from its own machine: "
    "start it with --demo (FANWISE_DEMO=true) to offer it to all"
)
NOT_BEHIND_A_PROXY = (
    "a proxy has passed this request on, and the demo is for those who reach the server from its own machine: "
    "open the server's own address, or start it with --demo (FANWISE_DEMO=true) to offer it to all"
)
NOT_FOR_WORKERS = (
    "its clients could reach another of this server's workers: start a server with --workers 1 to see the demo"
)
NOT_YOURS = "this is for the clients of a running demo"
_BODY_BYTES = 4096
_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": Plan.model_json_schema()}}}
}

Age = Annotated[float | None, Field(description="publish to receive, over the last second; null before the first")]


class HealthyInfo(BaseModel):
    """The healthy simulated clients, together."""

    clients: Annotated[int, Field(description="connected clients")]
    received_per_second: Annotated[float, Field(description="by all of them, over the last second")]
    p50_seconds: Age
    p99_seconds: Age
    silent_seconds: Annotated[float, Field(description="longest time without a message among them")]


class SimulatedInfo(BaseModel):
    """One simulated client."""

    received: int
    missing: Annotated[int, Field(description="messages that were due since it came and that it has not received")]
    silent_seconds: Annotated[float, Field(description="time since its last message")]
    connected: bool
    code: Annotated[int | None, Field(description="of its last close; 1006: without a close frame; null: none yet")]


class StoppingInfo(SimulatedInfo):
    """The client that stops reading."""

    stopped_seconds: Annotated[float | None, Field(description="time since it stopped; null before")]
    reason: Annotated[str | None, Field(description="code and name of the server's reason to drop it; null: none yet")]
    returned: Annotated[bool, Field(description="whether it has a connection again")]
    retained: Annotated[int, Field(description="messages from before its return that it got after it")]
    lost: Annotated[int, Field(description="messages of which the server has said that they will not come")]


class SideStatus(BaseModel):
    """The state of one side."""

    published: int
    waiting: Annotated[int, Field(description="messages that are due, and wait for the one before them")]
    publishing_seconds: Annotated[float, Field(description="time that the publication under way has taken; else 0")]
    healthy: HealthyInfo
    drops: Annotated[int, Field(description="healthy clients that the server has closed")]
    clients: Annotated[list[SimulatedInfo], Field(description="the healthy ones")]
    stopping: StoppingInfo


class DemoStatus(BaseModel):
    """The state of a story, and how it stood at its end."""

    running: bool
    phase: Phase
    seconds: Annotated[float, Field(description="time since the beginning")]
    rate: Annotated[float, Field(description="messages a second, as asked for")]
    size: Annotated[int, Field(description="bytes of a message")]
    sides: Annotated[dict[Mode, SideStatus], Field(description="the loop of the tutorials, and Fanwise")]


class DemoInfo(BaseModel):
    """Whether the demo can be started, and the story that is played."""

    available: bool
    why: Annotated[str | None, Field(description="why it is not available")]
    max_clients: Annotated[int, Field(description="on each side")]
    status: Annotated[DemoStatus | None, Field(description="null while nothing runs")]


def demo_routes(
    demo: DemoController, broadcaster: Node, access: Access, page: Callable[[], Response] | None = None
) -> APIRouter:
    """`GET`, `PUT` and `DELETE /demo`, and `WS /demo/tutorial` for the simulated clients.

    Args:
        demo: The demo.
        broadcaster: The node that it publishes to.
        access: Who may start and stop it.
        page: Makes the answer for a browser that opens `/demo`; None: it gets the JSON.
    """
    router = make_router(broadcaster.tally.reject)
    _add_looking(router, demo, access, page)
    _add_playing(router, demo, access)

    async def tutorial(websocket: WebSocket) -> None:
        loop = demo.tutorial(websocket.query_params.get("token", ""))
        if loop is None:
            await turn_away(websocket, CodedError(ErrorCode.NO_DEMO, NOT_YOURS), broadcaster.tally.reject)
        else:
            async with loop.joined(websocket):
                async for _text in websocket.iter_text():
                    continue

    router.add_api_websocket_route(f"{ROUTE}/tutorial", tutorial)
    return router


def _add_looking(router: APIRouter, demo: DemoController, access: Access, page: Callable[[], Response] | None) -> None:
    async def look(request: Request) -> Response:
        """Answers whether the demo can be started from here, and the state of the story.

        A browser that opens the address gets the page of the demo.
        """
        if page is not None and _is_browser(request):
            return page()
        why = _refusal(demo, request)
        info = {"available": why is None, "why": why, "max_clients": demo.max_clients, "status": demo.status()}
        response = _json(info)
        response.headers["Vary"] = "Accept"
        return response

    router.add_api_route(
        ROUTE, look, dependencies=[site_guard(access)], responses={200: {"model": DemoInfo}, **errors(*REFUSED)}
    )


def _add_playing(router: APIRouter, demo: DemoController, access: Access) -> None:
    async def play(request: Request) -> Response:
        """Starts the story, or joins the one that is played.

        A story ends by itself within a minute, and when the server is about to stop.
        """
        if why := _refusal(demo, request):
            raise CodedError(ErrorCode.NO_DEMO, why)
        plan = _read_plan(await read_body(request, limit_bytes=_BODY_BYTES))
        plan = plan.within(max_clients=demo.max_clients, max_message_bytes=demo.max_message_bytes)
        _check_bounds(demo, plan)
        target = find_target(request, route=ROUTE)
        if access.read is not Read.OPEN:
            await _check_listening(access, request)
            target = target._replace(headers=credentials_of(request))
        return _json(await demo.play(plan, target))

    async def stop() -> None:
        """Stops the story, if one is played."""
        await demo.stop()

    keys = operator_guards(access)
    refused = errors(
        *REFUSED_WITH_KEY, ErrorCode.BAD_REQUEST, ErrorCode.INCOMPLETE_BODY, ErrorCode.NO_DEMO, ErrorCode.TOO_BIG
    )
    router.add_api_route(
        ROUTE,
        play,
        methods=["PUT"],
        dependencies=keys,
        responses={200: {"model": DemoStatus}, **refused},
        openapi_extra=_BODY,
    )
    router.add_api_route(
        ROUTE, stop, methods=["DELETE"], status_code=204, dependencies=keys, responses=errors(*REFUSED_WITH_KEY)
    )


def _refusal(demo: DemoController, request: Request) -> str | None:
    """Returns why this request cannot start the demo; None if it can."""
    if not demo.available:
        return NO_DEMO
    if demo.workers > 1:
        return NOT_FOR_WORKERS
    if demo.everybody or is_local(request):
        return why_not(request)
    return NOT_BEHIND_A_PROXY if is_passed_on(request.headers) else NOT_FOR_OTHERS


def _is_browser(request: Request) -> bool:
    """Returns whether somebody opens the address in a browser: scripts and programs ask for anything, or for JSON."""
    return "text/html" in request.headers.get("accept", "")


async def _check_listening(access: Access, request: Request) -> None:
    """Raises CodedError if the simulated clients, who have the rights of the request, could not listen."""
    rights = await access.rights(request)
    if rights is not None:
        await rights.check_all(CHANNEL, Action.SUBSCRIBE)


def _read_plan(body: bytes) -> Plan:
    try:
        return Plan.model_validate_json(body)
    except ValidationError as error:
        raise CodedError(ErrorCode.BAD_REQUEST, list_problems(error.errors(include_url=False))) from error


def _check_bounds(demo: DemoController, plan: Plan) -> None:
    for name, value, most in (
        ("clients", plan.clients, demo.max_clients),
        ("size", plan.size_bytes, demo.max_message_bytes),
    ):
        if value > most:
            raise CodedError(ErrorCode.BAD_REQUEST, f"{name}: {value} is more than the {most} that this server allows")


def _json(body: object) -> Response:
    return json_response(orjson.dumps(body))

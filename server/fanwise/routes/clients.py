"""`GET /clients`: who is here and how far behind, and who has gone; `DELETE /clients/{id}` closes one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, Literal, Protocol

import orjson
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from ..broadcaster.client import Client
from ..broadcaster.inspector import Inspector
from ..broadcaster.node import Node
from ..broadcaster.registry import ClosedClient
from ..broadcaster.turns import SharedTurn
from ..core.codes import CodedError, ErrorCode
from ..core.counters import name_of
from .auth.guards import REFUSED_WITH_KEY, Access, operator_guards
from .channels import Limit, Scope
from .problems import errors, make_router
from .streams import LongAnswers


class UserInfo(BaseModel):
    """The user of a client, as the application knows it."""

    id: str
    info: Annotated[Any, Field(description="what others may know")]
    expires_at: Annotated[float | None, Field(description="seconds since 1970, when it is closed; null: never")]


class ClientInfo(BaseModel):
    """A client, at the time of the answer."""

    id: str
    user: Annotated[UserInfo | None, Field(description="null: unknown")]
    address: Annotated[str, Field(examples=["127.0.0.1:50312"])]
    dialect: Annotated[str, Field(examples=["fanwise.v1"])]
    path: Annotated[
        Literal["direct", "transport", "asgi"],
        Field(description="how sweeps reach it: its socket, its transport (TLS), or plain ASGI, which is slow"),
    ]
    state: Annotated[Literal["ready", "behind"], Field(description="ready: up to date")]
    channels: list[str]
    lag: Annotated[int, Field(description="publications that it has not been given")]
    lag_bytes: Annotated[int, Field(description="and their payload bytes")]
    buffered_bytes: Annotated[int, Field(description="bytes in user space that wait for its socket")]
    behind_seconds: Annotated[float | None, Field(description="time since it fell behind, to a quarter second")]
    rtt_seconds: Annotated[float | None, Field(description="from the latest ping to its pong")]
    connected_seconds: Annotated[float, Field(description="time since it connected")]


class ClosedInfo(BaseModel):
    """A closed client."""

    id: str
    user: Annotated[str | None, Field(description="id of its user; null: unknown")]
    address: str
    reason: Annotated[str, Field(examples=["slow"])]
    code: Annotated[int, Field(examples=[4008])]
    at: Annotated[float, Field(description="seconds since 1970")]
    lag: Annotated[int, Field(description="publications that it had not been given")]


class Clients(BaseModel):
    """The clients, those furthest behind first, and the latest closed ones."""

    clients: list[ClientInfo]
    total: Annotated[int, Field(description="number of all, also beyond `limit`")]
    closed: Annotated[list[ClosedInfo], Field(description="at most 200, the newest first")]


def closed_info(gone: ClosedClient) -> dict[str, Any]:
    """A `ClosedInfo`."""
    reason = gone.reason
    named = {"reason": name_of(reason), "code": reason.code, "at": gone.unix_seconds, "lag": gone.lag}
    return {"id": gone.id, "user": gone.user, "address": gone.address, **named}


_ELSEWHERE: Final = (ErrorCode.FULL, ErrorCode.UNCONFIRMED)  # what another worker may be asked in vain


async def _list_clients(inspect: Inspector, found: list[Client], total: int) -> AsyncGenerator[bytes, None]:
    """Yields the JSON of a `Clients`. A client that has gone meanwhile is left out."""
    yield b'{"clients":['
    turn, comma = SharedTurn(), b""
    for client in found:
        if client.reason is None:
            yield comma + orjson.dumps(inspect.client(client)._asdict())
            comma = b","
        await turn.give_way()
    closed = orjson.dumps([closed_info(one) for one in reversed(inspect.closed())])
    yield b'],"total":%d,"closed":%b}' % (total, closed)


class AllClients(Protocol):
    """The clients of all workers behind one engine. `clients_model`: of the JSON of their list."""

    clients_model: type[BaseModel]

    async def clients(self, *, channel: str | None, limit: int) -> AsyncGenerator[bytes, None]:
        """Returns the JSON of their list, in parts."""

    async def close(self, client_id: str) -> bool:
        """Closes a client of another worker; False if there is none."""


def client_routes(
    broadcaster: Node, access: Access, answers: LongAnswers, everywhere: AllClients | None = None
) -> APIRouter:
    """`GET /clients` and `DELETE /clients/{id}`. `everywhere`: where there are other workers."""
    router = make_router(broadcaster.tally.reject)
    _add_list(router, broadcaster, access, answers, everywhere)
    _add_close(router, broadcaster, access, everywhere)
    return router


def _add_list(
    router: APIRouter, broadcaster: Node, access: Access, answers: LongAnswers, everywhere: AllClients | None
) -> None:
    async def clients(
        channel: Annotated[str | None, Query(description="Channel of the clients.")] = None,
        limit: Limit = 1000,
        scope: Scope = "all",
    ) -> Response:
        """Lists clients with their lag, and the latest closed clients with their reasons."""
        if everywhere is not None and scope == "all":
            return answers.json(await everywhere.clients(channel=channel, limit=limit))
        inspect = broadcaster.inspect
        async with answers.making:
            found = await inspect.furthest_behind(limit=limit, channel=channel)
        return answers.json(_list_clients(inspect, found, count_clients(broadcaster, channel)))

    model = Clients if everywhere is None else everywhere.clients_model
    router.add_api_route(
        "/clients",
        clients,
        dependencies=operator_guards(access),
        responses={200: {"model": model}, **errors(*REFUSED_WITH_KEY, ErrorCode.BAD_REQUEST, ErrorCode.FULL)},
    )


def count_clients(broadcaster: Node, channel: str | None) -> int:
    """Returns the number of all clients, or of those on a channel. O(1)."""
    if channel is None:
        return len(broadcaster)
    here = broadcaster.inspect.channel(channel)
    return here.clients if here is not None else 0


def _add_close(router: APIRouter, broadcaster: Node, access: Access, everywhere: AllClients | None) -> None:
    async def close(client_id: Annotated[str, Path(alias="id", description="As in `GET /clients`.")]) -> None:
        """Closes a client with 4503, which asks it not to come back."""
        if broadcaster.close_client(client_id):
            return
        if everywhere is None or not await everywhere.close(client_id):
            raise CodedError(ErrorCode.NO_CLIENT, f"there is no client {client_id[:64]!r}")

    router.add_api_route(
        "/clients/{id}",
        close,
        methods=["DELETE"],
        status_code=204,
        dependencies=operator_guards(access),
        responses=errors(*REFUSED_WITH_KEY, ErrorCode.NO_CLIENT, *(() if everywhere is None else _ELSEWHERE)),
    )

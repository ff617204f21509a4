"""`GET /clients` and `GET /channels` of all workers, and closing a client of any."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, Field

from ...broadcaster.survey import Gathered, Survey
from ...broadcaster.turns import SharedTurn, first_in_turns
from ...core.codes import CodedError, ErrorCode
from ..channels import ChannelInfo
from ..clients import ClientInfo, ClosedInfo
from .models import FleetChannels, FleetClients, workers_of
from .rows import Part, fields_of, read_rows

MOST_CLOSED: Final = 200
_PLACES: Final = 8  # of lists of one kind that wait, are made, or are sent
_ROW_BYTES: Final = 64  # what a row takes in memory beside its text
_ELSEWHERE: Final = re.compile(r"([0-9a-f]{8})-[0-9a-f]{16}")  # the id of a client behind a backplane


class ClientsHead(BaseModel):
    """What an answer of clients says beside its rows."""

    total: Annotated[int, Field(ge=0)]
    closed: Annotated[list[ClosedInfo], Field(max_length=MOST_CLOSED)]


class ChannelsHead(BaseModel):
    """What an answer of channels says beside its rows."""

    total: Annotated[int, Field(ge=0)]


class Desk:
    """Owns the invariant that one list is made at a time, and that few are held: an unread answer stays in memory.

    Args:
        count_bytes: Counts memory of answers; a negative number was let go.
    """

    def __init__(self, count_bytes: Callable[[int], None]) -> None:
        self._count_bytes = count_bytes
        self._lock = asyncio.Lock()
        self._taken = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place, as long as the list is made. Raises CodedError if all are taken."""
        if self._taken >= _PLACES:
            raise CodedError(ErrorCode.FULL, f"all {_PLACES} places for lists of all workers are taken")
        self._taken += 1
        try:
            async with self._lock:
                yield
        finally:
            self._taken -= 1

    async def send(self, begin: bytes, rows: list[bytes], end: bytes) -> AsyncGenerator[bytes, None]:
        """Yields a JSON list and what is around it."""
        size = sum(map(len, rows)) + _ROW_BYTES * len(rows)
        self._taken += 1
        self._count_bytes(size)
        turn = SharedTurn()
        try:
            yield begin
            for number, row in enumerate(rows):
                yield b"," + row if number else row
                await turn.give_way()
            yield end
        finally:
            self._taken -= 1
            self._count_bytes(-size)


class FleetLists:
    """Lists what all workers have, and closes clients of any.

    Args:
        survey: Returns what asks the workers.
        count_bytes: Counts memory of answers; a negative number was let go.
    """

    clients_model: type[BaseModel] = FleetClients
    channels_model: type[BaseModel] = FleetChannels

    def __init__(self, survey: Callable[[], Survey], count_bytes: Callable[[int], None]) -> None:
        self._survey = survey
        self._clients, self._channels = Desk(count_bytes), Desk(count_bytes)

    async def clients(self, *, channel: str | None, limit: int) -> AsyncGenerator[bytes, None]:
        """Returns the JSON of a `FleetClients`, in parts. Raises CodedError if too many are asked for."""
        async with self._clients.place():
            gathered = await self._survey().ask("clients", channel=channel, limit=limit)
            parts, wrong = await read_rows(gathered.answers, ClientsHead, ClientInfo)
            rows = await _merge_clients(parts, limit)
        closed = [fields_of(one, worker=part.worker) for part in parts for one in part.head.closed]
        newest = sorted(closed, key=itemgetter("at"), reverse=True)[:MOST_CLOSED]
        end = {"total": sum(part.head.total for part in parts), "closed": newest, **_told(gathered, wrong)}
        return self._clients.send(b'{"clients":[', rows, b"]," + orjson.dumps(end)[1:])

    async def channels(self, *, prefix: str, limit: int) -> AsyncGenerator[bytes, None]:
        """Returns the JSON of a `FleetChannels`, in parts. Raises CodedError if too many are asked for."""
        async with self._channels.place():
            gathered = await self._survey().ask("channels", prefix=prefix, limit=limit)
            parts, wrong = await read_rows(gathered.answers, ChannelsHead, ChannelInfo)
            rows, different = await _merge_channels(parts, limit)
        total = max([different, *(part.head.total for part in parts)])
        end = {"total": total, **_told(gathered, wrong)}
        return self._channels.send(b'{"channels":[', rows, b"]," + orjson.dumps(end)[1:])

    async def close(self, client_id: str) -> bool:
        """Closes a client of another worker; False if there is none.

        Raises:
            CodedError: UNCONFIRMED: the worker has not answered.
        """
        survey = self._survey()
        found = _ELSEWHERE.fullmatch(client_id)
        if found is None or (worker := found[1]) == survey.worker:
            return False
        gathered = await survey.ask("close", to=worker, id=client_id)
        if worker not in gathered.workers:
            return False
        answer = gathered.answers.get(worker)
        if answer not in (b"true", b"false"):
            problem = f"worker {worker} has not answered: perhaps it has closed the client"
            raise CodedError(ErrorCode.UNCONFIRMED, problem)
        return answer == b"true"


def _told(gathered: Gathered, wrong: list[str]) -> dict[str, Any]:
    """Returns who was asked, and who has not answered."""
    return {"workers": workers_of(gathered), "silent": sorted({*gathered.silent, *wrong})}


async def _merge_clients(parts: list[Part[ClientsHead, ClientInfo]], limit: int) -> list[bytes]:
    """Returns the rows of the clients, those furthest behind first. Holds the loop for 2 ms at a time."""
    found = []
    turn = SharedTurn()
    for part in parts:
        for row in part.rows:
            found.append((-row.lag_bytes, part.worker, row))
            await turn.give_way()
    rows = []
    for _, worker, row in await first_in_turns(found, limit, key=itemgetter(0, 1)):
        rows.append(orjson.dumps(fields_of(row, worker=worker)))
        await turn.give_way()
    return rows


async def _merge_channels(parts: list[Part[ChannelsHead, ChannelInfo]], limit: int) -> tuple[list[bytes], int]:
    """Returns the rows of the channels by name, and how many there are. Holds the loop for 1 ms at a time."""
    found: dict[str, dict[str, Any]] = {}
    turn = SharedTurn()
    for part in parts:
        for row in part.rows:
            found[row.name] = add_channel(found.get(row.name), row, part.worker)
            await turn.give_way()
    rows = []
    for name in await first_in_turns(list(found), limit, key=str):
        rows.append(orjson.dumps(found[name]))
        await turn.give_way()
    return rows, len(found)


def add_channel(before: dict[str, Any] | None, row: ChannelInfo, worker: str) -> dict[str, Any]:
    """Returns a channel with what one more worker says of it: clients are added, and the longest log counts."""
    if before is None:
        return fields_of(row, workers=[worker])
    longer = row if row.head > before["head"] else None
    return {
        **before,
        **({} if longer is None else {"epoch": row.epoch, "head": row.head}),
        "clients": before["clients"] + row.clients,
        "retained": max(before["retained"], row.retained),
        "retained_bytes": max(before["retained_bytes"], row.retained_bytes),
        "workers": [*before["workers"], worker],
    }

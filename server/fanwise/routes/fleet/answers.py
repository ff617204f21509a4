"""What this worker answers when another one asks. Each kind of question checks its own parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, Field, ValidationError

from ...broadcaster.node import Node
from ...broadcaster.survey import Answer, QuestionError
from ..channels import MAX_LISTED, channel_info
from ..clients import closed_info, count_clients
from ..metrics import Collector
from ..past import PastRing
from ..stats import StatsCollector
from .rows import write_rows
from .samples import own_samples

Question = TypeVar("Question", bound=BaseModel)


class ClientsQuestion(BaseModel):
    """Parameters of "clients"."""

    channel: str | None
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)]


class ChannelsQuestion(BaseModel):
    """Parameters of "channels"."""

    prefix: str
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)]


class CloseQuestion(BaseModel):
    """Parameters of "close"."""

    id: str


def answers_of(
    broadcaster: Node, collector: StatsCollector, *, published: Callable[[], int], past: PastRing | None = None
) -> dict[str, Answer]:
    """Returns {kind of question: what answers it} of one worker.

    Args:
        broadcaster: The worker's node.
        collector: Makes its documents.
        published: Returns how many publications were acknowledged to it.
        past: Its last hour; None: nothing keeps one, and the worker does not answer to "past".
    """
    own = _Answers(broadcaster, collector, published)
    kinds: dict[str, Answer] = {
        "clients": own.clients,
        "channels": own.channels,
        "close": own.close,
        "summary": own.summary,
        "lists": own.lists,
        "stats": own.stats,
    }
    if past is not None:
        kinds["past"] = partial(_past, past)
    return kinds if own.samples is None else {**kinds, "metrics": own.metrics}


class _Answers:
    def __init__(self, broadcaster: Node, collector: StatsCollector, published: Callable[[], int]) -> None:
        self._broadcaster = broadcaster
        self._published = published
        self._collector = collector
        try:
            self.samples: Collector | None = Collector(broadcaster)
        except ImportError:  # it needs the extra `metrics`
            self.samples = None

    async def clients(self, parameters: Mapping[str, Any], most_bytes: int) -> bytes:
        asked = _read(ClientsQuestion, parameters)
        inspect = self._broadcaster.inspect
        found = await inspect.furthest_behind(limit=asked.limit, channel=asked.channel)
        total = count_clients(self._broadcaster, asked.channel)

        def rows() -> Iterator[dict[str, Any]]:
            for client in found:
                if client.reason is None:
                    yield inspect.client(client)._asdict()

        closed = [closed_info(one) for one in reversed(inspect.closed())]
        return await write_rows({"total": total, "closed": closed}, rows(), most_bytes=most_bytes)

    async def channels(self, parameters: Mapping[str, Any], most_bytes: int) -> bytes:
        asked = _read(ChannelsQuestion, parameters)
        inspect = self._broadcaster.inspect
        names, total = await inspect.channel_names(prefix=asked.prefix, limit=asked.limit)

        def rows() -> Iterator[dict[str, Any]]:
            for name in names:
                channel = inspect.channel(name)
                if channel is not None:
                    yield channel_info(channel)

        return await write_rows({"total": total}, rows(), most_bytes=most_bytes)

    async def close(self, parameters: Mapping[str, Any], _most_bytes: int) -> bytes:
        asked = _read(CloseQuestion, parameters)
        return orjson.dumps(self._broadcaster.close_client(asked.id))

    async def summary(self, _parameters: Mapping[str, Any], _most_bytes: int) -> bytes:
        return self._with_published(self._collector.summary())

    async def lists(self, _parameters: Mapping[str, Any], _most_bytes: int) -> bytes:
        return orjson.dumps(await self._collector.lists())

    async def stats(self, _parameters: Mapping[str, Any], _most_bytes: int) -> bytes:
        return self._with_published(await self._collector.stats())

    async def metrics(self, _parameters: Mapping[str, Any], _most_bytes: int) -> bytes:
        assert self.samples is not None
        return own_samples(self.samples)

    def _with_published(self, document: dict[str, Any]) -> bytes:
        return orjson.dumps({**document, "published": self._published()})


async def _past(ring: PastRing, _parameters: Mapping[str, Any], most_bytes: int) -> bytes:
    head = {"bounds": ring.bounds(), "total": len(ring)}
    return await write_rows(head, map(orjson.Fragment, ring.newest_first()), most_bytes=most_bytes)


def _read(model: type[Question], parameters: Mapping[str, Any]) -> Question:
    try:
        return model.model_validate(parameters, strict=True)
    except ValidationError as error:
        raise QuestionError(str(error)) from error

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fanwise import Broadcaster
from fanwise.backplane.memory import MemoryEngine
from fanwise.broadcaster.node import Node
from fanwise.broadcaster.survey import QuestionError
from fanwise.core.reasons import CloseReason
from fanwise.embedding import SharedBroadcaster
from fanwise.routes.fleet.answers import answers_of
from fanwise.routes.fleet.lists import FleetLists
from fanwise.routes.stats import StatsCollector

from ...support.fakes import FakeSink
from ...support.live import until
from ...support.patience import patient

pytestmark = pytest.mark.anyio


async def test_a_worker_without_routes_answers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that has WebSocket endpoints only: its clients are seen, and can be closed."""
    patient(monkeypatch)
    engine = MemoryEngine()
    one, two = (Broadcaster(backplane=engine.backplane()) for _ in range(2))
    async with one, two:
        assert isinstance(one, SharedBroadcaster)
        client = two.add_client(FakeSink())
        await until(lambda: len(engine.room.listed()) == 2)
        lists = FleetLists(lambda: one.survey, lambda _: None)
        listed = orjson.loads(b"".join([part async for part in await lists.clients(channel=None, limit=10)]))
        assert [each["id"] for each in listed["clients"]] == [client.id]
        assert await lists.close(client.id)
        assert client.reason is CloseReason.OPERATOR


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("clients", {"channel": None, "limit": 0}),
        ("clients", {"channel": 3, "limit": 1}),
        ("clients", {"limit": 1}),
        ("channels", {"prefix": "", "limit": 10_001}),
        ("channels", {"prefix": None, "limit": 1}),
        ("close", {"id": 7}),
        ("close", {}),
    ],
)
async def test_parameters_are_checked(kind: str, parameters: dict[str, Any]) -> None:
    """They may be of a worker of another version."""
    async with Node() as node:
        answers = answers_of(node, StatsCollector(node), published=lambda: 0)
        with pytest.raises(QuestionError):
            await answers[kind](parameters, 1000)


async def test_answers_are_of_one_worker() -> None:
    """With what it has published, and never longer than they may be."""
    async with Node() as node:
        answers = answers_of(node, StatsCollector(node), published=lambda: 7)
        for number in range(50):
            node.publish_nowait(f"channel-{number}", "x")
        assert orjson.loads(await answers["summary"]({}, 100))["published"] == 7
        assert orjson.loads(await answers["stats"]({}, 100))["published"] == 7
        assert orjson.loads(await answers["close"]({"id": "x"}, 100)) is False
        listed = await answers["channels"]({"prefix": "", "limit": 100}, 1000)
        assert len(listed) <= 1000
        assert listed.startswith(b'{"total":50}\n{"name":"channel-0"')
        assert b"fanwise_publications_total 50.0\n" in await answers["metrics"]({}, 100)

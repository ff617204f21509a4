from __future__ import annotations

from typing import Any

import orjson
import pytest

from fanwise.broadcaster.node import Node
from fanwise.broadcaster.survey import QuestionError
from fanwise.routes.fleet.answers import answers_of
from fanwise.routes.stats import StatsCollector

pytestmark = pytest.mark.anyio


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

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fanwise import User
from fanwise.broadcaster.node import Node
from fanwise.broadcaster.presence_answers import MOST_CHANNELS, PresenceAnswers
from fanwise.broadcaster.survey import Answer, QuestionError
from fanwise.core.presence import Roster

pytestmark = pytest.mark.anyio


def answers_of(node: Node) -> dict[str, Answer]:
    return PresenceAnswers(node.presence, lambda: "w1").by_kind()


def lines(answer: bytes) -> list[Any]:
    return [orjson.loads(line) for line in answer.split(b"\n") if line]


def people(node: Node, channel: str, count: int, info: object = None) -> None:
    roster = node.presence.rosters[channel] = Roster()
    for number in range(count):
        roster.join(number, User(f"user-{number}", info))


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("presence", {}),
        ("presence", {"channel": 3, "limit": 1}),
        ("presence", {"channel": "a", "limit": 10_001}),
        ("presence", {"channel": "a", "limit": True}),
        ("presence_changes", {"by": "w2"}),
        ("presence_changes", {"by": "w2", "seen": []}),
        ("presence_users", {}),
        ("presence_users", {"channels": [3]}),
        ("presence_users", {"channels": ["a"] * (MOST_CHANNELS + 1)}),
    ],
)
async def test_parameters_are_checked(kind: str, parameters: dict[str, Any]) -> None:
    """They may be of a worker of another version."""
    async with Node() as node:
        with pytest.raises(QuestionError):
            await answers_of(node)[kind](parameters, 1000)


async def test_an_answer_is_never_longer_than_it_may_be() -> None:
    """Ten thousand users with a kilobyte each: half of the bytes are theirs, and ids have the rest."""
    async with Node() as node:
        people(node, "a", 10_000, "x" * 1000)
        answer = await answers_of(node)["presence"]({"channel": "a", "limit": 10_000}, 100_000)
        head, *rows = lines(answer)
        assert len(answer) <= 100_000
        assert head == {"clients": 0, "users": 10_000}
        assert (len([row for row in rows if len(row) == 2]), len(rows) > 3_000) == (50, True)
        answer = await answers_of(node)["presence_users"]({"channels": ["a", "b"]}, 1_000)
        assert lines(answer) == [["a", None], ["b", []]]
        answer = await answers_of(node)["presence_users"]({"channels": ["a", "b"]}, 1_000_000)
        users = [user for channel, some in lines(answer) for user in some if channel == "a"]
        assert len(users) == len(set(users)) == 10_000


async def test_changes_are_told_from_a_number_on() -> None:
    """Some at a time; who asks goes on after the last one. The own question is no question."""
    async with Node() as node:
        ask = answers_of(node)["presence_changes"]
        assert lines(await ask({"by": "w1", "seen": {}}, 1000)) == [None]
        (head,) = lines(await ask({"by": "w2", "seen": {}}, 1000))
        assert head["known"] is False
        people(node, "a", 20)
        for number in range(20):
            node.presence.journal().note("a", f"user-{number}")
        node.presence.journal().note("a", "gone")
        seen, rows = head["number"], []
        more = True
        while more:
            head, *some = lines(await ask({"by": "w2", "seen": {"w1": seen}}, 400))
            more, seen = head["more"], head["number"]
            rows += some
        assert rows == [*(["a", f"user-{number}", None] for number in range(20)), ["a", "gone"]]

from __future__ import annotations

import pytest

from fanwise.broadcaster.node import Node
from fanwise.routes.channels import Channels, History

from .test_json_session import serving

pytestmark = pytest.mark.anyio


async def test_channels_tell_what_is_retained_and_who_listens() -> None:
    """By name, of a prefix, and not more than asked for."""
    broadcaster = Node()
    async with serving(broadcaster) as live, await live.talk() as talk:
        await talk.ask(op="subscribe", channel="b/1")
        for name in ("b/2", "a", "b/2"):
            last = await broadcaster.publish(name, "1234")
        answer = await live.request("GET", "/channels")
        Channels.model_validate(answer.json)
        assert [(one["name"], one["clients"], one["head"]) for one in answer.json["channels"]] == [
            ("a", 0, 1),
            ("b/1", 1, 0),
            ("b/2", 0, 2),
        ]
        assert answer.json["channels"][2] == {
            "name": "b/2",
            "epoch": last.epoch if last.channel == "b/2" else "",
            "head": 2,
            "clients": 0,
            "retained": 2,
            "retained_bytes": 8,
            "pattern": None,
            "program": None,
        }
        few = (await live.request("GET", "/channels?prefix=b/&limit=1")).json
        assert ([one["name"] for one in few["channels"]], few["total"]) == (["b/1"], 2)
        assert (await live.request("GET", "/channels?limit=0")).code == "bad_request"


async def test_history_is_what_the_log_retains() -> None:
    """All of it, or after a position; what is missing is told as one gap."""
    broadcaster = Node(queue_messages=5, history_messages=5)
    async with serving(broadcaster) as live:
        for number in range(1, 129):
            last = await broadcaster.publish("a/b", {"n": number}, key="k")
        first = 129 - next(broadcaster.inspect.channels()).retained
        assert first > 100
        path = "/channels/a/b/history"
        whole = (await live.request("GET", path)).json
        History.model_validate(whole)
        assert (whole["channel"], whole["epoch"], whole["head"], whole["gap"]) == ("a/b", last.epoch, 128, None)
        assert whole["messages"] == [
            {"offset": number, "data": {"n": number}, "key": "k"} for number in range(first, 129)
        ]
        for query, offsets, gap in (
            ("?since=126", [127, 128], None),
            (f"?since=126&epoch={last.epoch}", [127, 128], None),
            ("?since=128", [], None),
            (f"?since={first - 1}&limit=2", [first, first + 1], None),
            ("?limit=1", [first], None),
            ("?since=7&limit=1", [first], {"from": 8, "to": first - 1, "reason": "history"}),
            ("?since=126&epoch=other&limit=1", [first], {"from": 1, "to": first - 1, "reason": "epoch"}),
            ("?since=129&limit=1", [first], {"from": 1, "to": first - 1, "reason": "epoch"}),
        ):
            answer = (await live.request("GET", path + query)).json
            assert [message["offset"] for message in answer["messages"]] == offsets
            assert answer["gap"] == gap


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/channels/nobody/history", 404, "no_channel"),
        ("/channels/no%20good/history", 400, "bad_channel"),
        ("/channels/a/history?since=-1", 400, "bad_request"),
        ("/channels/a/history?since=x", 400, "bad_request"),
        ("/channels/a/history?limit=1001", 400, "bad_request"),
    ],
)
async def test_bad_questions_are_answered_clearly(path: str, status: int, code: str) -> None:
    """And nothing is opened by asking."""
    broadcaster = Node()
    async with serving(broadcaster) as live:
        answer = await live.request("GET", path)
        assert (answer.status, answer.code) == (status, code)
        assert list(broadcaster.inspect.channels()) == []

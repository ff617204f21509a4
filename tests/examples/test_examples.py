"""What the examples are for, on real sockets: resume, progress, prices, cursors; and that they are short."""

from __future__ import annotations

import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from fanwise.testing import ReadingClient, TestingClient

from ..support.answers import ask, streaming
from ..support.examples import JSON, example
from ..support.processes import ROOT
from .test_guards import KEY, token

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ADA, BOB = ({"Cookie": f"session=session-of-{name}"} for name in ("ada", "bob"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    """Under 60 lines."""
    assert len(path.read_text().splitlines()) < 60


def subscribed(client: ReadingClient, channel: str, **more: Any) -> dict[str, Any]:
    """Subscribes, and returns the answer."""
    client.send_json(op="subscribe", channel=channel, **more)
    return next(answer for answer in iter(client.receive_json, None) if answer["op"] == "subscribed")


def test_a_chat_goes_on_where_it_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over WebSockets and event streams; texts have authors, tokens an end, and a stalled member delays nobody."""
    monkeypatch.setenv("CHAT_KEY", KEY)
    with example("chat") as (server, module):

        def write(text: str) -> str:
            answer = ask(server, "POST", "/rooms/red", headers=token(), body={"text": text})
            assert answer.status == 201, answer
            return str(answer.json)

        client = server.reading_client(headers=token(), subprotocol=JSON)
        start = subscribed(client, "room.red")
        first = write("one")
        assert client.receive_json()["data"] == {"from": "ada", "text": "one"}
        client.vanish()
        write("two")
        write("three")
        again = server.reading_client(headers=token(sub="bob"), subprotocol=JSON)
        since = {"epoch": start["epoch"], "offset": 1}
        assert subscribed(again, "room.red", since=since)["recovered"] is True
        assert [again.receive_json()["data"]["text"] for _ in range(2)] == ["two", "three"]
        with streaming(server, "/rooms/red/events", headers={**token(), "Last-Event-ID": first}) as events:
            data = [json.loads(event.data) for event in events.take(3)[1:]]
        assert [one["text"] for one in data] == ["two", "three"]
        hello = ['{"op":"subscribe","channel":"room.red"}']
        options: dict[str, Any] = {"headers": token(), "subprotocol": JSON, "hello": hello}
        server.stalled_client(**options)
        brief = {"sub": "eve", "rooms": ["red"]}
        module.app.dependency_overrides[module.read_claims] = lambda: {**brief, "exp": time.time() + 0.5}
        assert server.reading_client().wait_closed(within_seconds=60) == 4013
        module.app.dependency_overrides.clear()
        server.assert_isolated(p99_ms=5000, publish=write, size=2000, publications=10, per_second=20, **options)


def test_progress_goes_on_where_it_was_lost() -> None:
    """Each step once, in its order, whenever the stream is lost; and another user hears nothing of it."""
    with example("jobs") as (server, _):
        job = ask(server, "POST", "/jobs", headers=ADA).json
        path, last, steps = f"/jobs/{job}/events", "", list[int]()
        while steps[-1:] != [10]:
            with streaming(server, path, headers={**ADA, **({"Last-Event-ID": last} if last else {})}) as events:
                for event in islice(events, 4):
                    last = event.id or last
                    if event.name == "message":
                        steps.append(json.loads(event.data)["done"])
                    if steps[-1:] == [10]:
                        break
        assert steps == list(range(steps[0], 11))
        with streaming(server, path, headers=BOB) as events:
            (channel,) = {json.loads(events.take(1)[0].data)["channel"]}
        assert channel == f"jobs/bob/{job}"


def test_a_ticker_ticks() -> None:
    """To those who read, from the past on, or one symbol alone; a client that does not read is not dropped for it."""
    key = {"X-API-Key": "key-of-a-free-plan"}
    with example("ticker") as (server, module):
        with streaming(server, "/exchanges/paris/events", headers=key) as events:
            seen = [json.loads(event.data) for event in events.take(3)[1:]]
        assert {symbol for one in seen for symbol in one} == {"AIR", "OR"}
        with streaming(server, "/exchanges/paris/events?last=2&filter=symbol:OR", headers=key) as events:
            assert [list(json.loads(event.data)) for event in events.take(4)[1:]] == [["OR"]] * 3
        hello = ['{"op":"subscribe","channel":"ticker.paris"}']
        options: dict[str, Any] = {"headers": key, "subprotocol": JSON, "hello": hello}
        client = server.reading_client(headers=key, subprotocol=JSON)
        subscribed(client, "ticker.paris", last=2, filter={"symbol": "AIR"})
        assert [client.receive_json()["tags"] for _ in range(3)] == [{"symbol": "AIR"}] * 3
        server.stalled_client(**options)
        server.assert_isolated(p99_ms=5000, channel="ticker.paris", publications=50, **options)
        assert server.call(module.broadcaster.statistics).closed.keys() <= {"normal", "lost"}


def received_up_to(client: TestingClient, last: dict[str, Any]) -> int:
    """Receives up to `last`, and returns how many messages came."""
    return next(number for number, message in enumerate(iter(client.receive_json, None), 1) if message == last)


def test_cursors_are_signed() -> None:
    """Everybody sees who points where; what is no place ends its sender alone, and the slow get the newest."""
    with example("cursors") as (server, _):
        ada, bob = (server.reading_client("/boards/plan/ws", headers=who) for who in (ADA, BOB))
        with streaming(server, "/boards/plan/events", headers=BOB) as events:
            position = events.take(1)[0].id
        ada.send('{"x": 1, "y": 2, "user": "bob"}')
        place = {"user": "ada", "x": 1.0, "y": 2.0}
        assert ada.receive_json() == bob.receive_json() == place
        with streaming(server, "/boards/plan/events", headers={**BOB, "Last-Event-ID": position}) as events:
            assert json.loads(events.take(2)[1].data) == place
        assert sorted(ask(server, "GET", "/boards/plan", headers=BOB).json) == ["ada", "bob"]
        ada.send("nowhere")
        assert ada.wait_closed() == 4500
        assert ask(server, "GET", "/boards/plan", headers=BOB).json == ["bob"]
        late = server.pausing_client("/boards/plan/ws", headers=ADA, seconds=1)
        for x in range(5000):
            bob.send(f'{{"x": {x}, "y": 4}}')
        last = {"user": "bob", "x": 4999.0, "y": 4.0}
        assert received_up_to(bob, last) == 5000
        assert received_up_to(late, last) < 5000

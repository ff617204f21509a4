"""Guards and rights of the examples: of HTTP, of WebSockets and of event streams; what leaves one out is caught."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest

from ..support.examples import JSON, Example, doors, example, open_doors

KEY = "a key of chat's of 32 bytes or more"


def token(**claims: Any) -> dict[str, str]:
    """The header of a chat's user, by default of a writer in the red room."""
    known = {"sub": "ada", "exp": time.time() + 86_400, "rooms": ["red"], "writer": True}
    return {"Authorization": f"Bearer {jwt.encode({**known, **claims}, KEY)}"}


class Guarded(NamedTuple):
    """An example, and who may do what there."""

    name: str
    guard: str  # the function that its routes depend on
    known: Any  # what the guard returns for somebody who may
    names: dict[str, str]  # of the paths
    headers: dict[str, str]  # of somebody who may
    strangers: list[dict[str, str]]
    body: object = None


CASES = [
    Guarded(
        "chat",
        "read_claims",
        {"sub": "ada", "exp": 1e10, "rooms": ["red"], "writer": True},
        {"room": "red"},
        token(),
        [
            {},
            {"Authorization": "Bearer nonsense"},
            token(exp=time.time() - 60),
            {"Authorization": f"Bearer {jwt.encode({'sub': 'ada', 'exp': 1e10, 'rooms': ['red']}, 'x' * 32)}"},
        ],
        {"text": "hello"},
    ),
    Guarded(
        "ticker",
        "exchanges",
        ["paris"],
        {"exchange": "paris"},
        {"X-API-Key": "key-of-a-free-plan"},
        [{}, {"X-API-Key": "key-of-another-plan"}],
    ),
    Guarded(
        "jobs",
        "current_user",
        None,
        {"job": "1"},
        {"Cookie": "session=session-of-ada"},
        [{}, {"Cookie": "session=session-of-eve"}],
    ),
    Guarded(
        "cursors",
        "member",
        None,
        {"board": "plan"},
        {"Cookie": "session=session-of-bob"},
        [{}, {"Cookie": "session=session-of-eve"}],
    ),
]
KINDS = {"WS", "SSE"}


@pytest.fixture(autouse=True)
def chat_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_KEY", KEY)


@pytest.fixture(params=CASES, ids=[case.name for case in CASES])
def case(request: pytest.FixtureRequest) -> Guarded:
    found: Guarded = request.param
    return found


@pytest.fixture
def running(case: Guarded) -> Iterator[Example]:
    with example(case.name) as running:
        yield running


def test_a_guard_holds_for_every_route(case: Guarded, running: Example) -> None:
    """HTTP, WebSocket and event stream: strangers are refused everywhere, and those who may are let in everywhere.

    A planted fault: a guard that is left out lets strangers in, and each kind of route is seen to do so.
    """
    kinds = {method for method, _ in doors(running.module)}
    assert kinds > KINDS
    assert open_doors(running, headers=case.headers, body=case.body, **case.names) == kinds
    for headers in case.strangers:
        assert open_doors(running, headers=headers, body=case.body, **case.names) == set()
    known = case.known or next(iter(vars(running.module).get("USERS", vars(running.module).get("SESSIONS")).values()))
    guard = getattr(running.module, case.guard)
    running.module.app.dependency_overrides[guard] = lambda: known
    assert open_doors(running, headers={}, body=case.body, **case.names) == kinds


def answers(running: Example, headers: dict[str, str], *ops: dict[str, Any]) -> list[str]:
    """What a client of the JSON dialect is answered with: the code of an error, or the operation."""
    (path,) = (path for method, path in doors(running.module) if method == "WS")
    with running.server.reading_client(path, headers=headers, subprotocol=JSON) as client:
        client.receive_json()  # welcome
        found = []
        for op in ops:
            client.send_json(**op)
            answer = client.receive_json()
            found.append(answer["code"] if answer["op"] == "error" else answer["op"])
        return found


PUBLISHES = {"op": "publish", "channel": "room.red", "data": "hello"}


def chat_rights(running: Example) -> dict[str, Any]:
    subscribe = [{"op": "subscribe", "channel": f"room.{room}"} for room in ("red", "blue")]
    answered = {
        "ops": answers(running, token(), *subscribe, PUBLISHES),
        "blue": open_doors(running, headers=token(), body={"text": "hello"}, room="blue") - {"WS"},
        "reader": open_doors(running, headers=token(writer=False), body={"text": "hello"}, room="red") - {"WS"},
    }
    return {name: value for name, value in answered.items() if value != CHAT[name]}


CHAT: dict[str, Any] = {"ops": ["subscribed", "forbidden", "forbidden"], "blue": set(), "reader": {"SSE"}}


def ticker_rights(running: Example) -> dict[str, Any]:
    free = {"X-API-Key": "key-of-a-free-plan"}
    subscribe = [{"op": "subscribe", "channel": f"ticker.{exchange}"} for exchange in ("tokyo", "paris")]
    publish = {"op": "publish", "channel": "ticker.paris", "data": 1}
    answered = {
        "ops": answers(running, free, publish, *subscribe),
        "tokyo": open_doors(running, headers=free, exchange="tokyo") & {"SSE"},
    }
    expected: dict[str, Any] = {"ops": ["forbidden", "forbidden", "subscribed"], "tokyo": set()}
    return {name: value for name, value in answered.items() if value != expected[name]}


def jobs_rights(running: Example) -> dict[str, Any]:
    bob = {"Cookie": "session=session-of-bob"}
    subscribe = [{"op": "subscribe", "channel": f"jobs/{owner}/1"} for owner in ("ada", "bob")]
    answered = answers(running, bob, {"op": "publish", "channel": "jobs/bob/1", "data": 1}, *subscribe)
    return {} if answered == ["forbidden", "forbidden", "subscribed"] else {"ops": answered}


def cursors_rights(running: Example) -> dict[str, Any]:
    found = open_doors(running, headers={"Cookie": "session=session-of-bob"}, board="diary")
    return {"diary": found} if found else {}


RIGHTS = {"chat": chat_rights, "ticker": ticker_rights, "jobs": jobs_rights, "cursors": cursors_rights}


def test_rights_are_asked(case: Guarded, running: Example) -> None:
    """Those who are known may do what is theirs, and no more."""
    assert RIGHTS[case.name](running) == {}


@pytest.mark.parametrize(
    ("name", "old", "new", "caught"),
    [
        ("chat", "channels=rooms, ", "", {"ops"}),
        ("chat", ", may_publish=False", "", {"ops"}),
        ("chat", ', may_subscribe=room in claims["rooms"]', "", {"blue"}),
        ("chat", ' or not claims.get("writer")', "", {"reader"}),
        ("ticker", 'channels=[f"ticker.{exchange}" for exchange in plan], ', "", {"ops"}),
        ("ticker", ", may_publish=False", "", {"ops"}),
        ("ticker", ", may_subscribe=exchange in plan", "", {"tokyo"}),
        ("jobs", ', channels=[f"jobs/{owner.id}/*"]', "", {"ops"}),
        ("jobs", ", may_publish=False", "", {"ops"}),
        ("cursors", "if user.id not in BOARDS.get(board, ())", "if board not in BOARDS", {"diary"}),
    ],
)
def test_a_right_that_is_left_out_is_seen(name: str, old: str, new: str, caught: set[str], tmp_path: Path) -> None:
    """Each one planted into a copy of the example."""
    with example(name, old, new, folder=tmp_path) as running:
        assert set(RIGHTS[name](running)) == caught

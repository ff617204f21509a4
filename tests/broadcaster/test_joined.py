from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from fastapi import FastAPI, WebSocket

from fanwise import Broadcaster, Client, MessageTooBigError
from fanwise.backplane.memory import MemoryEngine
from fanwise.broadcaster import joined
from fanwise.broadcaster.joined import FleetSender
from fanwise.broadcaster.survey import Gathered, QuestionError
from fanwise.core.codes import CodedError
from fanwise.core.publication import Kind, Publication
from fanwise.embedding import SharedBroadcaster
from fanwise.errors import BackplaneDownError

from ..support.live import running, until

pytestmark = pytest.mark.anyio


class Stage:
    """A worker whose clients all belong to ada."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.broadcaster = Broadcaster(backplane=engine.backplane())
        self.clients: list[Client] = []
        self.app = FastAPI(lifespan=self.broadcaster.lifespan)
        self.app.add_api_websocket_route("/ws", self.endpoint)

    async def endpoint(self, websocket: WebSocket) -> None:
        async with self.broadcaster.connect(websocket, channel="lobby", user="ada") as client:
            self.clients.append(client)
            async for _ in client:
                pass


async def test_a_user_is_reached_on_all_workers() -> None:
    """It is known how many clients got it; messages that come together keep their order, for each user."""
    engine = MemoryEngine()
    one, two = Stage(engine), Stage(engine)
    async with running(one.app) as here, running(two.app) as there:
        peers = [await here.connect(), await there.connect(), await there.connect()]
        await until(lambda: len(one.clients) + len(two.clients) == 3)
        send_to = one.broadcaster.send_to
        sent: list[tuple[str, object]] = [("ada", "1"), ("eve", "-"), ("ada", b"2"), ("ada", [3])]
        assert await asyncio.gather(*(send_to(*one) for one in sent)) == [3, 0, 3, 3]
        for peer in peers:
            assert [await peer.recv() for _ in range(3)] == ["1", b"2", "[3]"]
        assert await two.broadcaster.send_to("ada", "x" * 65_536) == 3
        assert isinstance(two.broadcaster, SharedBroadcaster)
        engine.room.deaf.add(two.broadcaster.survey.worker)
        assert await send_to("ada", "4") == 1


class Asked:
    """A survey that notes what it asks, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[list[dict[str, Any]]] = []
        self.answers: dict[str, bytes] = {}
        self.error: Exception | None = None
        self.go = asyncio.Event()

    async def ask(self, _kind: str, *, messages: list[dict[str, Any]]) -> Gathered:
        self.asked.append(messages)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return Gathered(self.answers, {}, [])


def message(data: bytes = b"x") -> Publication:
    return Publication("", "", 0, data, Kind.TEXT, 0.0)


async def test_what_waits_travels_together_within_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """One question is on its way; the next takes what fits; and what cannot be taken is refused at once."""
    monkeypatch.setattr(joined, "_MOST_WAITING", 3)
    survey: Any = Asked()
    sender = FleetSender(survey)
    tasks = [asyncio.create_task(sender.send_to("a", message()))]
    await until(lambda: len(survey.asked) == 1)
    tasks += [asyncio.create_task(sender.send_to(user, message(b"x" * 60_000))) for user in "abc"]
    await until(lambda: len(sender._waiting) == 3)
    with pytest.raises(CodedError, match="wait for other workers already"):
        await sender.send_to("d", message())
    with pytest.raises(MessageTooBigError):
        await sender.send_to("d", message(b"x" * 100_000))
    survey.answers = {"1": b"[1]", "2": b"[2]", "3": b"no JSON", "4": b'["1"]', "5": b"[1, 2]"}
    survey.go.set()
    assert await asyncio.gather(*tasks) == [3, 3, 3, 3]
    assert [[one["user"] for one in asked] for asked in survey.asked] == [["a"], ["a"], ["b"], ["c"]]


async def test_what_waits_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the number: large messages to users may wait for an engine that does not answer."""
    monkeypatch.setattr(joined, "_MOST_BYTES", 200_000)
    survey: Any = Asked()
    sender = FleetSender(survey)
    tasks = [asyncio.create_task(sender.send_to("a", message()))]
    await until(lambda: len(survey.asked) == 1)  # what is on its way does not wait
    tasks += [asyncio.create_task(sender.send_to("a", message(b"x" * 60_000))) for _ in range(2)]
    await until(lambda: len(sender._waiting) == 2)
    with pytest.raises(CodedError, match="2 messages to users wait"):
        await sender.send_to("a", message(b"x" * 60_000))
    survey.answers = {"1": b"[1]"}
    survey.go.set()
    assert await asyncio.gather(*tasks) == [1, 1, 1]
    assert sender._bytes == 0


async def test_an_error_concerns_the_messages_of_its_question() -> None:
    survey: Any = Asked()
    sender = FleetSender(survey)
    survey.go.set()
    survey.error = BackplaneDownError("it is away")
    with pytest.raises(BackplaneDownError):
        await sender.send_to("a", message())
    survey.error = None
    assert await sender.send_to("a", message()) == 0


async def test_at_the_stop_nobody_waits_for_ever() -> None:
    survey: Any = Asked()
    sender = FleetSender(survey)
    tasks = [asyncio.create_task(sender.send_to("a", message())) for _ in range(2)]
    await until(lambda: len(survey.asked) == 1)
    tasks.append(asyncio.create_task(sender.send_to("a", message())))
    await until(lambda: len(sender._waiting) == 1)
    await sender.stop()
    assert [one.cancelled() for one in (await asyncio.wait(tasks))[0]] == [True] * 3


@pytest.mark.parametrize(
    "parameters",
    [{}, {"messages": 1}, {"messages": [1]}, {"messages": [{"user": "a", "kind": "text", "data": "?"}]},
     {"messages": [{"user": "a", "kind": "?", "data": ""}]}],
)  # fmt: skip
async def test_a_question_that_means_nothing_is_not_answered(parameters: dict[str, Any]) -> None:
    """One of another version: who asks counts this worker as silent."""
    async with Broadcaster() as broadcaster:
        assert broadcaster._host is not None
        with pytest.raises(QuestionError):
            await broadcaster._host.direct.answer(parameters, 1000)
        asked = {"messages": [{"user": "a", "kind": "text", "data": "", "more": 1}]}
        assert orjson.loads(await broadcaster._host.direct.answer(asked, 1000)) == [0]

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest

from fanwise.backplane.memory import MemoryEngine
from fanwise.broadcaster import survey as module
from fanwise.broadcaster.survey import Answer, Card, QuestionError, Survey, own_card, read_card
from fanwise.core.codes import CodedError, ErrorCode

from ..support.live import until
from ..support.patience import impatient, patient

pytestmark = pytest.mark.anyio


class Answering:
    """Answers "echo" with what it was asked; "none" means nothing to it, and "fails" raises."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.answers: dict[str, Answer] = {"echo": self.echo, "none": self.none, "fails": self.fails}

    async def echo(self, parameters: Mapping[str, Any], most_bytes: int) -> bytes:
        self.asked.append(parameters)
        return orjson.dumps([parameters.get("text"), most_bytes])

    async def none(self, *_: object) -> bytes:
        raise QuestionError

    async def fails(self, *_: object) -> bytes:
        raise RuntimeError("a mistake")


@pytest.fixture(autouse=True)
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    patient(monkeypatch)


@contextlib.asynccontextmanager
async def workers(engine: MemoryEngine, *hosts: str) -> AsyncIterator[list[tuple[Survey, Answering]]]:
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for host in hosts:
            answering = Answering()
            survey = Survey(engine.backplane().fleet(), answering.answers, own_card(host))
            await survey.start()
            stack.push_async_callback(survey.stop)
            found.append((survey, answering))
        await until(lambda: len(engine.room.listed()) == len(hosts))
        yield found


async def test_all_are_asked_and_none_is_silent() -> None:
    """This worker is among those who answer."""
    async with workers(MemoryEngine(), "a", "a", "b") as ((one, _), (two, _), (three, _)):
        found = await one.ask("echo", text="x")
        names = sorted(each.worker for each in (one, two, three))
        assert (list(found.answers), found.silent) == (names, [])
        assert {answer[:4] for answer in found.answers.values()} == {b'["x"'}
        assert {found.workers[each.worker].host for each in (one, three)} == {"a", "b"}


async def test_one_is_asked_or_those_of_a_host() -> None:
    """The others are no part of it."""
    async with workers(MemoryEngine(), "a", "a", "b") as ((one, _), (two, to), (three, other)):
        found = await one.ask("echo", to=three.worker)
        assert (list(found.answers), found.silent) == ([three.worker], [])
        assert to.asked == []
        found = await one.ask("echo", same_host=True)
        assert (list(found.answers), found.silent) == (sorted([one.worker, two.worker]), [])
        assert len(other.asked) == 1
        gone = await one.ask("echo", to="0000000a")
        assert (gone.answers, gone.workers, gone.silent) == ({}, {}, [])


async def test_those_who_do_not_answer_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Because they are deaf, do not understand, or make a mistake."""
    impatient(monkeypatch)
    engine = MemoryEngine()
    async with workers(engine, "a", "a", "a") as ((one, own), (two, deaf), (three, _)):
        own.answers["none"] = own.answers["fails"] = own.echo
        for kind in ("none", "fails"):
            found = await one.ask(kind)
            assert (list(found.answers), found.silent) == ([one.worker], sorted([two.worker, three.worker]))
        engine.room.deaf.add(two.worker)
        while (found := await one.ask("echo")).silent != [two.worker]:  # a busy machine may be late for the third
            assert two.worker in found.silent
        assert (deaf.asked, list(found.answers)) == ([], sorted([one.worker, three.worker]))
        engine.stall()
        found = await one.ask("echo")
        assert (list(found.answers), found.silent) == ([one.worker], sorted([two.worker, three.worker]))


async def test_surveys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In number, in bytes asked, in bytes answered."""
    monkeypatch.setattr(module, "GATHERED_BYTES", 60)
    async with workers(MemoryEngine(), "a", "a") as ((one, _), (two, _)):
        impatient(monkeypatch)
        found = await one.ask("echo", text="x" * 100)
        assert (list(found.answers), found.silent) == ([one.worker], [two.worker])
        patient(monkeypatch)
        with pytest.raises(CodedError) as long:
            await one.ask("echo", text="x" * 140_000)
        assert long.value.code is ErrorCode.BAD_REQUEST
        found = await one.ask("echo")
        assert found.answers[two.worker] == b"[null,30]"
        monkeypatch.setattr(module, "_MOST_WAITING", 3)
        outcomes = await asyncio.gather(*(one.ask("echo") for _ in range(5)), return_exceptions=True)
        assert [isinstance(outcome, CodedError) for outcome in outcomes] == [False] * 3 + [True] * 2


async def test_questions_that_wait_are_bounded() -> None:
    """And what is no question is dropped, whatever it is."""
    async with workers(MemoryEngine(), "a") as ((one, answering),):
        answers: list[bytes] = []
        for nonsense in (b"", b"[]", b"7", b"{}", b'{"kind": 1, "bytes": 1}', b'{"kind": "x", "bytes": 1}', b"\xff"):
            one._take(nonsense, answers.append)
        for number in range(100):
            one._take(orjson.dumps({"kind": "echo", "bytes": 9, "text": number}), answers.append)
        await until(one._asked.empty)
        assert (len(answers), len(answering.asked)) == (25, 25)  # of the 32 that were taken


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"host": "a", "place": "b", "pid": "1", "version": "c"}',
        b'{"host": "a\\n", "place": "b", "pid": 1, "version": "c"}',
        b'{"host": 1, "place": "b", "pid": 1, "version": "c"}',
    ],
)
def test_a_card_that_is_none(text: bytes) -> None:
    """Its worker is not listed."""
    assert read_card(text) is None


def test_a_card_is_read_as_it_was_written() -> None:
    """What a later version says beside that does no harm."""
    card = own_card("host")
    assert read_card(orjson.dumps({**card._asdict(), "more": 1})) == card
    assert card == Card("host", card.place, card.pid, card.version)
    assert card.place != own_card("other").place
    assert len(card.to_json()) < 1024

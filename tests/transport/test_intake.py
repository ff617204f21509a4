from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from fanwise.core.publication import Kind
from fanwise.transport.inbox import MESSAGE_BYTES
from fanwise.transport.intake import Intake

from ..support.live import until

pytestmark = pytest.mark.anyio


class Brake:
    """A transport whose reading is paused and resumed."""

    def __init__(self) -> None:
        self.paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Work:
    """Notes messages; those in `waits` are done when `go_on` is set."""

    def __init__(self, *waits: bytes) -> None:
        self.done: list[bytes] = []
        self.go_on = asyncio.Event()
        self.errors: list[Exception] = []
        self.brake = Brake()
        self._waits = waits

    def work(self, kind: Kind, data: bytes) -> Coroutine[Any, Any, None] | None:
        if data == b"wrong":
            raise ValueError(data)
        if data in self._waits:
            return self._later(data)
        self.done.append(data)
        return None

    async def _later(self, data: bytes) -> None:
        await self.go_on.wait()
        if data == b"wrong later":
            raise ValueError(data)
        self.done.append(data)

    def intake(self) -> Intake:
        return Intake(self.work, cast("asyncio.Transport", self.brake), failed=self.errors.append)


async def test_a_message_is_worked_on_where_it_comes_in() -> None:
    """Without a turn of the loop."""
    work = Work()
    intake = work.intake()
    intake.put(Kind.TEXT, b"a")
    intake.put(Kind.BINARY, b"b")
    assert (work.done, work.brake.paused, intake.size_bytes) == ([b"a", b"b"], False, 0)


async def test_what_comes_behind_one_that_waits_is_worked_on_behind_it() -> None:
    """In the same order; the peer is paused meanwhile."""
    work = Work(b"slow", b"slower")
    intake = work.intake()
    for data in (b"a", b"slow", b"b", b"slower", b"c"):
        intake.put(Kind.TEXT, data)
    assert (work.done, work.brake.paused, intake.size_bytes) == ([b"a"], True, 8 + 3 * MESSAGE_BYTES)
    work.go_on.set()
    await until(lambda: not work.brake.paused)
    assert work.done == [b"a", b"slow", b"b", b"slower", b"c"]
    assert intake.size_bytes == 0


@pytest.mark.parametrize("wrong", [b"wrong", b"wrong later"])
async def test_an_error_is_told_and_ends_the_work(wrong: bytes) -> None:
    """Of this connection only: nothing is raised."""
    work = Work(b"wrong later")
    intake = work.intake()
    work.go_on.set()
    intake.put(Kind.TEXT, wrong)
    await until(lambda: bool(work.errors))
    intake.put(Kind.TEXT, b"behind it")
    await until(lambda: not work.brake.paused)
    assert [str(error) for error in work.errors] == [str(ValueError(wrong))]
    assert work.done == []


class WorkAtOnce(Work):
    """Notes texts that come together as one."""

    def at_once(self, texts: list[bytes]) -> bool:
        if b"wrong" in texts:
            raise ValueError(b"wrong")
        if not set(self._waits) & set(texts):
            self.done.append(b"+".join(texts))
            return True
        return False


async def test_texts_that_come_together_are_worked_on_together() -> None:
    """None of them, where one has to wait or one before them waits; nor any by work that takes one at a time."""
    assert not Work().intake().takes_texts
    work = WorkAtOnce(b"slow")
    intake = work.intake()
    together = [intake.takes_texts]
    assert intake.put_texts([b"a", b"b"])
    assert not intake.put_texts([b"c", b"slow"])
    intake.put(Kind.TEXT, b"slow")
    together.append(intake.takes_texts)
    assert (work.done, together) == ([b"a+b"], [True, False])
    work.go_on.set()
    await until(lambda: not work.brake.paused)
    assert not intake.put_texts([b"f", b"wrong"]), "put one by one, the wrong one is an error"
    assert (work.done, work.errors) == ([b"a+b", b"slow"], [])


async def test_what_is_here_is_worked_on_after_the_end() -> None:
    """And nothing that would come later."""
    work = Work(b"slow")
    intake = work.intake()
    intake.put(Kind.TEXT, b"slow")
    intake.put(Kind.TEXT, b"b")
    intake.end()
    work.go_on.set()
    await until(lambda: work.done == [b"slow", b"b"])
    await until(lambda: not work.brake.paused)
    intake.put(Kind.TEXT, b"c")
    assert work.done == [b"slow", b"b"]

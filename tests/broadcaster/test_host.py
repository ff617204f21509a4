from __future__ import annotations

import asyncio

import pytest
from anyio.lowlevel import checkpoint

from fanwise.broadcaster.client import State
from fanwise.core.reasons import CloseReason

from ..support.fakes import FakeSink
from .test_client import Scene

pytestmark = pytest.mark.anyio


async def die() -> None:
    raise ZeroDivisionError


async def wait_in_vain() -> None:
    await asyncio.Event().wait()


async def test_a_task_that_dies_takes_its_client_with_it(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once: a client whose task has gone would never be closed."""
    setting = Scene(FakeSink())
    task = setting.host.start_task(setting.client, die())
    await asyncio.wait({task})
    assert setting.sink.aborted
    assert setting.client.reason is CloseReason.INTERNAL
    assert [vars(record)["code"] for record in caplog.records] == ["writer_died"]


async def test_a_task_that_is_cancelled_takes_its_client_with_it(caplog: pytest.LogCaptureFixture) -> None:
    """It is nobody's fault: nothing is logged."""
    setting = Scene(FakeSink())
    task = setting.host.start_task(setting.client, wait_in_vain())
    await checkpoint()
    task.cancel()
    await asyncio.wait({task})
    assert setting.sink.aborted
    assert setting.client.reason is CloseReason.INTERNAL
    assert caplog.records == []


async def test_a_task_that_ends_behind_its_client_is_the_usual_end() -> None:
    """The first reason stays, and nothing is aborted; the task is forgotten."""
    setting = Scene(FakeSink())
    setting.client.close(CloseReason.OPERATOR)
    assert len(setting.host.tasks) == 1
    await setting.end()
    assert setting.state() is State.CLOSED
    assert setting.client.reason is CloseReason.OPERATOR
    assert not setting.sink.aborted
    assert not setting.host.tasks


async def test_who_has_ended_is_not_aborted_again() -> None:
    """When serving a client fails that has gone already."""
    setting = Scene(FakeSink())
    setting.sink.end(CloseReason.LOST)
    setting.host.failed(setting.client, ZeroDivisionError())
    assert not setting.sink.aborted
    assert setting.client.reason is CloseReason.LOST

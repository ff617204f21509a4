from __future__ import annotations

import asyncio

import pytest

from fanwise.backplane.reconnecting import stay_connected
from fanwise.errors import SettingsError

from ..support.live import until

pytestmark = pytest.mark.anyio


class Links:
    """Dials fail with `errors`, one after the other, and then succeed."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.failed: list[Exception] = []
        self.lost = asyncio.Event()
        self.up = False
        self.dials = 0

    async def connect(self) -> None:
        self.lost.clear()
        self.dials += 1
        if self.errors:
            raise self.errors.pop(0)
        self.up = True

    def lose(self) -> None:
        self.up = False
        self.lost.set()

    def start(self) -> asyncio.Task[None]:
        links = stay_connected(self.connect, is_up=lambda: self.up, lost=self.lost, failed=self.failed.append)
        return asyncio.create_task(links)


async def test_it_is_dialled_until_there_is_a_link_and_again_when_that_is_lost() -> None:
    """Each failure is told, and a link that is up is left alone."""
    errors = [OSError("refused"), SettingsError(["password"]), TimeoutError()]
    links = Links(*errors)
    task = links.start()
    await until(lambda: links.up)
    assert (links.failed, links.dials) == (errors, 4)
    links.lose()
    await until(lambda: links.up)
    assert (links.failed, links.dials) == (errors, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_error_is_a_mistake_of_ours() -> None:
    """It ends the task, and is not tried again in silence."""
    links = Links(ValueError("no link of ours"))
    with pytest.raises(ValueError, match="no link of ours"):
        await asyncio.wait_for(links.start(), 10)
    assert links.failed == []

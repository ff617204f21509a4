from __future__ import annotations

import asyncio

import pytest

from fanwise import Broadcaster
from fanwise.backplane.memory import MemoryBackplane, MemoryEngine
from fanwise.core.publication import Kind
from fanwise.errors import (
    BackplaneDownError,
    ChannelNameError,
    FanwiseError,
    MessageTooBigError,
    NotRunningError,
    TagError,
)

from ..support.live import until

pytestmark = pytest.mark.anyio


async def test_several_are_published_in_their_order() -> None:
    """With one future, which has the last one's position; what others publish meanwhile stays theirs."""
    engine = MemoryEngine()
    async with Broadcaster(backplane=MemoryBackplane(engine)) as one:
        await one.sharing.ready("lobby", None)
        submitter = one.sharing.submitter
        several = submitter.submit_all("lobby", Kind.TEXT, [b"%d" % number for number in range(200)])
        other = submitter.submit("lobby", Kind.TEXT, b"other")
        assert several is not None
        assert (await several).offset == 200
        assert (await other).offset == 201
        log = one._hub.channel("lobby", time=0.0).log
        await until(lambda: log.head == 201)
        assert [one.payload for one in log.pick((1, 2, 200, 201))] == [b"0", b"1", b"199", b"other"]


@pytest.mark.parametrize(
    ("channel", "data", "error"),
    [
        ("no good", [b"x"], ChannelNameError),
        ("lobby", [b"x", bytes(70_000)], MessageTooBigError),
    ],
)
async def test_what_is_not_allowed_is_refused_before_any_is_handed_in(
    channel: str, data: list[bytes], error: type[FanwiseError]
) -> None:
    """The good ones of several, too."""
    engine = MemoryEngine()
    async with Broadcaster(backplane=MemoryBackplane(engine)) as one:
        with pytest.raises(error):
            one.sharing.submitter.submit_all(channel, Kind.TEXT, data)
        position = await one.sharing.submitter.submit("lobby", Kind.TEXT, b"first")
        assert position.offset == 1
        with pytest.raises(TagError):
            one.sharing.submitter.submit("lobby", Kind.TEXT, b"x", tags={"": ""})


async def test_an_engine_that_is_away_is_told_once_for_all() -> None:
    """And nothing of them is published when it is back."""
    engine = MemoryEngine(publish_seconds=0.1)
    async with Broadcaster(backplane=MemoryBackplane(engine)) as one:
        engine.stall(stalled=True)
        several = one.sharing.submitter.submit_all("lobby", Kind.TEXT, [b"a", b"b"])
        assert several is not None
        with pytest.raises(BackplaneDownError):
            await several
        engine.stall(stalled=False)
        assert (await one.sharing.submitter.submit("lobby", Kind.TEXT, b"c")).offset == 1


async def test_a_server_that_has_stopped_hands_nothing_in() -> None:
    """It says what is wrong."""
    one = Broadcaster(backplane=MemoryBackplane(MemoryEngine()))
    async with one:
        submitter = one.sharing.submitter
    with pytest.raises(NotRunningError):
        submitter.submit_all("lobby", Kind.TEXT, [b"x"])
    with pytest.raises(NotRunningError):
        await asyncio.wait_for(submitter.submit("lobby", Kind.TEXT, b"x"), 10)

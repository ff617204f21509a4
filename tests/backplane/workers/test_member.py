from __future__ import annotations

import asyncio
import os
import socket

import pytest

from fanwise.backplane.workers import member as module
from fanwise.backplane.workers.member import BEAT, READY, Member, Order, argument

from ...support.live import until

pytestmark = pytest.mark.anyio


def pair() -> tuple[Member, socket.socket]:
    """A member, and the socket of its launcher."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with socket.socket() as listener, theirs:
        place = argument(2, 4, os.dup(listener.fileno()), os.dup(theirs.fileno()))
    return Member.of(place), ours


async def test_a_member_says_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """First that it is ready, then a sign of life after the other."""
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    member, launcher = pair()
    with launcher, member.listener:
        member.start(lambda _: None)
        heard = b""
        while len(heard) < 4:
            heard += await asyncio.get_running_loop().sock_recv(launcher, 16)
        assert heard[:4] == READY + 3 * BEAT
        assert (member.index, member.count) == (2, 4)
        member.stop()


async def test_a_member_obeys() -> None:
    """Also what was asked for before it was ready; a launcher that has gone asks for the drain."""
    member, launcher = pair()
    with member.listener:
        orders: list[Order] = []
        launcher.send(Order.HAND_OVER.value + Order.STOP.value)
        member.start(orders.append)
        await until(lambda: len(orders) == 2)
        assert orders == [Order.HAND_OVER, Order.STOP]
        launcher.close()
        await until(lambda: len(orders) == 3)
        assert orders[2:] == [Order.DRAIN]
        member.stop()


async def test_a_launcher_that_reads_nothing_holds_up_nobody() -> None:
    """The signs that it has not read are enough."""
    member, launcher = pair()
    with launcher, member.listener:
        member.start(lambda _: None)
        for _ in range(10_000):
            member._say(BEAT)
        member.stop()

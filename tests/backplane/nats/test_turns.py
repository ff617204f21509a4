from __future__ import annotations

import asyncio

import pytest

from fanwise.backplane.nats import turns
from fanwise.backplane.nats.turns import Turns

from ...support.live import until

pytestmark = pytest.mark.anyio


class Node:
    """A node, and the channels in which it had its turn."""

    def __init__(self, name: str, others: list[Node]) -> None:
        self.name = name
        self.others = others
        self.came: list[str] = []
        self.turns = Turns(name, publish=self.publish, come=self.came.append)
        others.append(self)

    def publish(self, claim: bytes) -> None:
        for other in self.others:
            other.turns.claimed(claim)


def three() -> tuple[Node, Node, Node]:
    nodes: list[Node] = []
    return Node("a", nodes), Node("b", nodes), Node("c", nodes)


async def test_nobody_waits_where_nobody_has_lost() -> None:
    """Nor does a claim keep a node from another channel."""
    one, two, _ = three()
    assert one.turns.is_ours("x", lost=False)
    assert not two.turns.is_ours("x", lost=True)
    assert two.turns.is_ours("x", lost=True)
    assert one.turns.is_ours("y", lost=False)
    assert one.turns._claims == {}


async def test_turns_come_in_the_order_of_claims() -> None:
    """One after the other, when the message of the one before is heard."""
    nodes = three()
    for node in nodes:
        node.turns.is_ours("x", lost=True)
        assert not node.turns.is_ours("x", lost=True) or node is nodes[0]
    assert [node.came for node in nodes] == [["x"], [], []]
    for place in (0, 1):
        for node in nodes:
            node.turns.over("x", nodes[place].name)
        assert [node.came for node in nodes] == [["x"]] * (place + 2) + [[]] * (1 - place)
    for node in nodes:
        node.turns.over("x", "c")
        assert node.turns._queues == {}


async def test_a_node_that_does_not_publish_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a claim that nobody hears, not even the node itself."""
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.001)
    one, two, _ = three()
    one.turns.is_ours("x", lost=True)
    two.turns.is_ours("x", lost=True)
    await until(lambda: bool(two.came))
    ours: list[bool] = []
    deaf = Turns("d", publish=lambda _: None, come=lambda channel: ours.append(deaf.is_ours(channel, lost=True)))
    assert not deaf.is_ours("x", lost=True)
    await until(lambda: bool(ours))
    assert ours[0]
    await until(lambda: deaf._timer is None)
    assert (deaf._queues, deaf._claims) == ({}, {})


async def test_claims_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In channels and in nodes: who is not in the queue races, or waits for a bounded time."""
    monkeypatch.setattr(turns, "_CHANNELS", 2)
    monkeypatch.setattr(turns, "_NODES", 2)
    one, *_ = three()
    for channel in ("x", "y", "z"):
        for name in ("e", "f", "g"):
            one.turns.claimed(f"{name} {channel}".encode())
    assert {channel: list(queue) for channel, queue in one.turns._queues.items()} == {"x": ["e", "f"], "y": ["e", "f"]}
    assert one.turns.is_ours("z", lost=True)
    one.turns.clear()
    await asyncio.sleep(0)
    assert (one.turns._queues, one.turns._timer) == ({}, None)

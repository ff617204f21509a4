"""Clients that are dropped at random, over and over, while somebody publishes: nothing is lost, nothing comes twice.

By default it is over in seconds. `ENDURANCE_SECONDS=20 ENDURANCE_CLIENTS=200 pytest tests/system/test_endurance.py -s`
gives it time, and prints what it has seen.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable

import pytest

from fanwise.client.client import FanwiseClient, Gap, Position

from ..support.processes import ServerProcess

SECONDS = float(os.environ.get("ENDURANCE_SECONDS", "2"))
CLIENTS = int(os.environ.get("ENDURANCE_CLIENTS", "25"))
CHANNELS = [f"channel/{number}" for number in range(20)]
CHANNELS_EACH = 3
MESSAGES_PER_SECOND = 500
STEPS_PER_SECOND = 50  # so many at a time: a sleep for each message would be late


class Follower:
    """A client on some channels that writes down all that it is told."""

    def __init__(self, url: str, chance: random.Random) -> None:
        self.client = FanwiseClient(
            url, on_gap=self.gaps_append, backoff_base_seconds=0.2, backoff_cap_seconds=1.0, random=chance.random
        )
        self.channels = chance.sample(CHANNELS, CHANNELS_EACH)
        self.begin: dict[str, Position] = {}
        self.offsets: dict[str, list[int]] = {channel: [] for channel in self.channels}
        self.wrong: list[str] = []
        self.gaps: list[Gap] = []
        self.drops = 0

    def gaps_append(self, gap: Gap) -> None:
        self.gaps.append(gap)

    async def start(self) -> None:
        for channel in self.channels:
            self.begin[channel] = await self.client.subscribe(channel)

    async def follow(self) -> None:
        async for message in self.client:
            self.offsets[message.channel].append(message.offset)
            if message.data != {"channel": message.channel, "n": message.offset}:
                self.wrong.append(f"{message.channel} {message.offset}: {message.data}")

    def drop(self) -> None:
        """Cuts the connection, whatever is on its way."""
        connection = self.client._down._connection
        if connection is not None:
            self.drops += 1
            connection.transport.abort()

    def up_to_date(self, heads: dict[str, int]) -> bool:
        return all(self.position(channel) >= heads[channel] for channel in self.channels)

    def position(self, channel: str) -> int:
        return self.offsets[channel][-1] if self.offsets[channel] else self.begin[channel].offset


async def publish(client: FanwiseClient, heads: dict[str, int], chance: random.Random, end: float) -> None:
    clock = asyncio.get_running_loop().time
    start, sent = clock(), 0
    while clock() < end:
        due = int((clock() - start) * MESSAGES_PER_SECOND)
        picks = chance.choices(CHANNELS, k=due - sent)
        sent = due
        for channel in picks:
            heads[channel] += 1
        numbered, counted = [], dict(heads)
        for channel in reversed(picks):
            numbered.append((channel, counted[channel]))
            counted[channel] -= 1
        for channel, number in reversed(numbered):
            position = await client.publish(channel, {"channel": channel, "n": number})
            assert position.offset == number
        await asyncio.sleep(1 / STEPS_PER_SECOND)  # noqa: ASYNC110, RUF100 - the pace of a publisher


async def drop_at_random(followers: list[Follower], chance: random.Random, end: float) -> None:
    clock = asyncio.get_running_loop().time
    while clock() < end:
        for follower in chance.sample(followers, max(1, len(followers) // 50)):
            follower.drop()
        await asyncio.sleep(1 / STEPS_PER_SECOND)


@pytest.mark.anyio
@pytest.mark.slow
@pytest.mark.timeout(120 + 4 * SECONDS)
async def test_dropped_and_resumed_at_random(server_process: Callable[..., ServerProcess]) -> None:
    """Each offset once, in order, with the data that was published at it; and no gap, because logs reach back far."""
    server = server_process("-m", "fanwise", "serve", "--port", "{port}", FANWISE_LOG_LEVEL="error")
    url = server.url("/ws")
    chance = random.Random(5)
    followers = [Follower(url, random.Random(number)) for number in range(CLIENTS)]
    await asyncio.gather(*(follower.start() for follower in followers))
    readers = [asyncio.create_task(follower.follow()) for follower in followers]
    heads = dict.fromkeys(CHANNELS, 0)
    end = asyncio.get_running_loop().time() + SECONDS
    async with FanwiseClient(url) as publisher:
        await asyncio.gather(publish(publisher, heads, chance, end), drop_at_random(followers, chance, end))
    waiting = {follower for follower in followers if not follower.up_to_date(heads)}
    while waiting:
        await asyncio.sleep(0)
        waiting = {follower for follower in waiting if not follower.up_to_date(heads)}
    await asyncio.gather(*(follower.client.close() for follower in followers))
    await asyncio.gather(*readers)
    for follower in followers:
        assert follower.wrong == []
        assert follower.gaps == []
        for channel, offsets in follower.offsets.items():
            assert offsets == list(range(follower.begin[channel].offset + 1, heads[channel] + 1))
    drops = sum(follower.drops for follower in followers)
    received = sum(len(offsets) for follower in followers for offsets in follower.offsets.values())
    assert drops > CLIENTS
    print(f"{sum(heads.values())} published, {drops} drops, {received} received: 0 lost, 0 twice, 0 gaps")  # noqa: T201

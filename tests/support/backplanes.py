"""Nodes without clients behind a backplane, and engines for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self

from fanwise.backplane.port import Arrival, Backplane, Opened, Outgoing
from fanwise.core.publication import Kind, Position

from .live import until


class Engine(Protocol):
    """An engine, and what can happen to it."""

    def backplane(self) -> Backplane: ...
    async def turn(self) -> None: ...
    async def lose_frames(self) -> None: ...
    async def lose_history(self) -> None: ...
    def cut(self, backplane: Backplane) -> None: ...
    async def stall(self, *, stalled: bool) -> None: ...
    async def channels(self) -> set[str]: ...


class Node:
    """Applies what it hears as a node does: skips channels that are being opened, and opens anew after interruptions.

    Attributes:
        story: {channel: its arrivals and gaps, in order}; a gap is (epoch, the offset after which it goes on).
        wrong: What broke a promise.
    """

    def __init__(self, backplane: Backplane) -> None:
        self.backplane = backplane
        self.story: dict[str, list[Arrival | Position]] = {}
        self.heads: dict[str, Position] = {}
        self.opening: dict[str, list[asyncio.Future[Opened]]] = {}
        self.interruptions = 0
        self.wrong: list[str] = []
        self.held = False  # whether it wants no more for now

    async def __aenter__(self) -> Self:
        await self.backplane.start(self)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.backplane.stop()

    def arrived(self, arrivals: Sequence[Arrival]) -> bool:
        for arrival in (one for several in arrivals for one in several.each()):
            if arrival.channel in self.heads and arrival.channel not in self.opening:
                self.apply(arrival)
        return not self.held

    def apply(self, arrival: Arrival) -> None:
        epoch, head = self.heads[arrival.channel]
        if arrival.epoch == epoch and arrival.offset <= head:
            return
        if (arrival.epoch, arrival.offset) != (epoch, head + 1):
            self.story[arrival.channel].append(Position(arrival.epoch, arrival.offset - 1))
        self.story[arrival.channel].append(arrival)
        self.heads[arrival.channel] = Position(arrival.epoch, arrival.offset)

    def interrupted(self, concerns: Callable[[str], bool]) -> None:
        self.interruptions += 1
        for channel, head in self.heads.items():
            if concerns(channel):
                self.ask(channel, head)

    def in_use(self, *, published: bool) -> Iterator[str]:
        return iter([channel for channel, head in self.heads.items() if published or not head.offset])

    def ask(self, channel: str, since: Position | None) -> asyncio.Future[Opened]:
        future: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
        self.opening.setdefault(channel, []).append(future)

        def done(opened: Opened | Exception) -> None:
            waiting = self.opening[channel]
            waiting.remove(future)
            if not waiting:
                del self.opening[channel]
            if isinstance(opened, Exception):
                future.set_exception(opened)
                return
            self.opened(channel, opened)
            future.set_result(opened)

        self.backplane.open(channel, since, done)
        return future

    def opened(self, channel: str, opened: Opened) -> None:
        offsets = [one.offset for one in opened.publications]
        if offsets != list(range(opened.head - len(offsets) + 1, opened.head + 1)):
            self.wrong.append(f"{offsets} do not lead to {opened.head}")
        if channel not in self.heads:
            self.story[channel] = []
            self.heads[channel] = Position(opened.epoch, opened.head - len(offsets))
        head = self.heads[channel]
        for arrival in opened.publications:
            if (arrival.epoch, arrival.offset) > head or arrival.epoch != head.epoch:
                self.apply(arrival)
        if self.heads[channel] != (opened.epoch, opened.head):
            self.story[channel].append(Position(opened.epoch, opened.head))
            self.heads[channel] = Position(opened.epoch, opened.head)

    async def open(self, channel: str, since: Position | None = None) -> Opened:
        return await self.ask(channel, since)

    def publish(self, channel: str, payload: bytes, key: str | None = None) -> asyncio.Future[Position]:
        return self.backplane.publish(Outgoing(channel, payload, Kind.TEXT, key))

    def heard(self, channel: str = "lobby") -> list[bytes]:
        return [one.payload for one in self.story[channel] if isinstance(one, Arrival)]

    def gaps(self, channel: str = "lobby") -> list[Position]:
        return [one for one in self.story[channel] if isinstance(one, Position)]

    async def has(self, position: Position, channel: str = "lobby") -> None:
        """Waits until it stands at `position`, or further."""
        await until(lambda: self.heads[channel].epoch == position.epoch and self.heads[channel] >= position)

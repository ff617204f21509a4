"""The reference: an engine for several nodes of one process, on one event loop.

Applications test with it how they behave across several servers, and the contract tests hold each engine against it. A
lone server needs no backplane. `MemoryEngine.turn`, `lose_frames` and `stall` break it on purpose.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from ..core.publication import Position
from ..errors import BackplaneDownError, IdempotencyError
from .counts import Counts
from .memory_fleet import MemoryFleet, MemoryRoom
from .port import ONLY_LOOK, Arrival, Done, Listener, Opened, Outgoing, Standing
from .together import Together
from .waiting import WaitingRoom

_TICK_SECONDS: Final = 0.25  # between two looks at what has waited for too long
_KEPT_FRAMES: Final = 1024
_EPOCH_BYTES: Final = 6
_ONCE_SECONDS: Final = 300.0


class _Channel:
    """What the engine retains of one channel."""

    def __init__(self, max_messages: int) -> None:
        self.epoch = secrets.token_hex(_EPOCH_BYTES)
        self.head = 0
        self.publications: deque[Arrival] = deque(maxlen=max_messages)

    def append(self, outgoing: Outgoing) -> Arrival:
        self.head += 1
        channel, payload, kind, key, _, tags, exclude, span = outgoing
        at_ms = time.time_ns() // 1_000_000
        arrival = Arrival(channel, self.epoch, self.head, payload, kind, key, at_ms, tags, exclude, span)
        self.publications.append(arrival)
        return arrival

    def open(self, since: Position | None) -> Opened:
        if since is None:
            return Opened(self.epoch, self.head, [])
        after = since.offset if since.epoch == self.epoch else 0
        return Opened(self.epoch, self.head, [one for one in self.publications if one.offset > after])


class _Answered(NamedTuple):
    """A request that was done."""

    digest: str
    position: Position
    at: float


class MemoryEngine:
    """Gives publications their places. Owns the invariants that offsets are dense, and frames numbered without a hole.

    Args:
        history_messages: How many publications of a channel are retained.
        kept_frames: How many frames a node may be behind.
        publish_seconds: How long a publication may wait while the engine is stalled.

    Attributes:
        stalled_at: Since when it is stalled, on the monotonic clock; None while it is not.
    """

    def __init__(
        self, *, history_messages: int = 1000, kept_frames: int = _KEPT_FRAMES, publish_seconds: float = 5.0
    ) -> None:
        self.publish_seconds = publish_seconds
        self.stalled_at: float | None = None
        self.generation = 1
        self.number = 0
        self._history_messages = history_messages
        self._channels: dict[str, _Channel] = {}
        self._frames: deque[list[Arrival]] = deque(maxlen=kept_frames)
        self._backplanes: dict[MemoryBackplane, None] = {}
        self.room = MemoryRoom()
        self._answered: OrderedDict[str, _Answered] = OrderedDict()  # {request: its answer}, the oldest first

    def backplane(self) -> MemoryBackplane:
        """Returns a new connection to this engine, for one node."""
        return MemoryBackplane(self)

    # What breaks it.

    def turn(self) -> None:
        """Loses all data, as an engine without persistence does that starts again."""
        self.generation += 1
        self.number = 0
        self._channels.clear()
        self._frames.clear()
        self._answered.clear()
        self._wake()

    def lose_frames(self) -> None:
        """Loses the frames that nodes have not heard yet; channels keep what they retain."""
        self._frames.clear()

    def lose_history(self) -> None:
        """Loses what channels retain; they stand where they stood."""
        for channel in self._channels.values():
            channel.publications.clear()

    def stall(self, *, stalled: bool = True) -> None:
        """Answers nothing, as a server that hangs; with `stalled=False` it goes on."""
        self.stalled_at = time.monotonic() if stalled else None
        self.room.closed = stalled
        if not stalled:
            self._wake()

    # What connections call.

    def connected(self, backplane: MemoryBackplane) -> None:
        """Takes in a connection, which hears of frames from now on."""
        self._backplanes[backplane] = None

    def disconnected(self, backplane: MemoryBackplane) -> None:
        """Lets a connection go."""
        self._backplanes.pop(backplane, None)

    def append(self, outgoing: Sequence[Outgoing]) -> list[Position | Exception]:
        """Gives the publications of a frame their places, and tells all connections."""
        arrivals: list[Arrival] = []
        places: list[Position | Exception] = []
        for one in outgoing:
            before = self._known(one)
            if before is None:
                arrivals.append(self._channel(one.channel).append(one))
                position = Position(arrivals[-1].epoch, arrivals[-1].offset)
                if one.once is not None:
                    self._answered[one.once.key] = _Answered(one.once.digest, position, time.monotonic())
                places.append(position)
            else:
                places.append(before)
        if arrivals:
            self.number += 1
            self._frames.append(arrivals)
            self._wake()
        return places

    def _known(self, outgoing: Outgoing) -> Position | Exception | None:
        """Returns the answer to a request that was done before; None if there is none."""
        if outgoing.once is None:
            return None
        while self._answered and next(iter(self._answered.values())).at < time.monotonic() - _ONCE_SECONDS:
            self._answered.popitem(last=False)
        found = self._answered.get(outgoing.once.key)
        if found is None:
            return None
        return found.position if found.digest == outgoing.once.digest else IdempotencyError()

    def frames_after(self, number: int) -> list[list[Arrival]] | None:
        """Returns the frames after `number`; None if some of them are lost."""
        count = self.number - number
        return None if count > len(self._frames) else list(self._frames)[len(self._frames) - count :]

    def open(self, channel: str, since: Position | None) -> Opened:
        """Returns where a channel stands."""
        if since is ONLY_LOOK:
            known = self._channels.get(channel)
            return Opened("", 0, []) if known is None else known.open(None)
        return self._channel(channel).open(since)

    def _channel(self, name: str) -> _Channel:
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel(self._history_messages)
        return channel

    def _wake(self) -> None:
        for backplane in self._backplanes:
            backplane.wake()


class MemoryBackplane:
    """One node's connection to a `MemoryEngine` (`port.Backplane`)."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.counts = Counts()
        self._engine = engine
        self._place = (0, 0)  # generation and number of the newest frame that the node has heard
        self._listener: Listener | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room: WaitingRoom | None = None
        self._opens: deque[tuple[float, str, Position | None, Done]] = deque()  # until when that is worth it
        self._paused = self._woken = False
        self._tick: asyncio.TimerHandle | None = None

    async def start(self, listener: Listener) -> None:
        """Connects `listener`, from the newest frame on."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._room = WaitingRoom(self._loop, publish_seconds=self._engine.publish_seconds, counts=self.counts)
        self.counts.links += 1
        self._place = (self._engine.generation, self._engine.number)
        self._engine.connected(self)
        self._look()

    async def stop(self) -> None:
        """Disconnects; what waits fails."""
        self._engine.disconnected(self)
        assert self._tick is not None
        assert self._room is not None
        self._tick.cancel()
        self._room.shut()
        self._listener = None

    def publish(self, outgoing: Outgoing, together: Together | None = None) -> asyncio.Future[Position]:
        """Publishes in the next turn of the loop, with whatever is published in this one."""
        assert self._room is not None
        future = self._room.enter(outgoing, together)
        self.wake()
        return future

    def open(self, channel: str, since: Position | None, done: Done) -> None:
        """Asks where a channel stands; `done` hears it in a later turn of the loop."""
        assert self._loop is not None
        self._opens.append((self._loop.time() + self._engine.publish_seconds, channel, since, done))
        self.wake()

    def go_on(self) -> None:
        """Lets arrivals come again."""
        self._paused = False
        self.wake()

    def standing(self) -> Standing:
        """Returns how the engine is: up unless it is stalled."""
        generation, number = self._place
        behind = self._engine.number - number if generation == self._engine.generation else self._engine.number
        stalled_at = self._engine.stalled_at
        if self._listener is None:
            return Standing(up=False, behind=behind, silent_seconds=inf, engine="memory", why="it is not connected")
        if stalled_at is None:
            return Standing(up=True, behind=behind, silent_seconds=0.0, engine="memory", why="")
        silent = time.monotonic() - stalled_at
        return Standing(up=False, behind=behind, silent_seconds=silent, engine="memory", why="it is stalled")

    def fleet(self) -> MemoryFleet:
        """Returns a connection to the other workers."""
        return MemoryFleet(self._engine.room)

    def wake(self) -> None:
        """Has the connection look at the engine in the next turn of the loop. Idempotent until then."""
        if not self._woken and self._loop is not None and self._listener is not None:
            self._woken = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._woken = False
        if self._listener is None or self._engine.stalled_at is not None:
            return
        assert self._room is not None
        frame = self._room.next_frame()
        if frame is not None:
            self._room.settle(self._engine.append([one.outgoing for one in frame.waiting]))
            if len(self._room):
                self.wake()
        self._hear(self._listener)
        while self._opens and not self._paused:  # what they are told holds after the frames before
            _, channel, since, done = self._opens.popleft()
            done(self._engine.open(channel, since))

    def _hear(self, listener: Listener) -> None:
        engine = self._engine
        generation, number = self._place
        frames = engine.frames_after(number) if generation == engine.generation else None
        if frames is None:
            self.counts.turns += generation != engine.generation
            self.counts.holes += generation == engine.generation
            self._place = (engine.generation, engine.number)
            listener.interrupted(lambda _: True)
            return
        for arrivals in frames:
            if self._paused:
                return
            number += 1
            self._place = (generation, number)
            self._paused = not listener.arrived(arrivals)

    def _look(self) -> None:
        assert self._loop is not None
        assert self._room is not None
        self._room.give_up("the engine is stalled")
        while self._opens and self._opens[0][0] <= self._loop.time() and self._engine.stalled_at is not None:
            self._opens.popleft()[-1](BackplaneDownError("the engine is stalled"))
        self._tick = self._loop.call_later(_TICK_SECONDS, self._look)

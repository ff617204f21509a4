"""One engine, and the link to it for as long as the server runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final

import hiredis

from ...core.publication import Position
from ...errors import BackplaneDownError, UnconfirmedError
from ...logs.events import Event, log
from ..counts import Counts
from ..options import Options
from ..port import Arrival, Done, Outgoing, Standing
from ..reconnecting import stay_connected
from ..together import Together
from ..waiting import Frame, WaitingRoom
from .address import Address
from .dial import Dialled, dial, refusal
from .link import Link, LinkError
from .opens import Opens
from .primary import has_moved, look_seconds
from .tail import Tail
from .taking import Taking, positions
from .touches import InUse, Touches

LAYOUT: Final = 1  # of keys and frames; another one needs another prefix
_LOOKS: Final = 4  # per `check_seconds`, at what has waited for too long
_REPLICA_MS: Final = 500
# The script has not run, or not here: it is sent again on another link.
_ELSEWHERE: Final = ("TURNED", "NOSCRIPT", "READONLY", "LOADING", "UNBLOCKED", "MASTERDOWN", "BUSY", "NOAUTH", "NOPERM")
_REFUSED: Final = ("OOM", "MISCONF", "NOREPLICAS")  # the script has not run, and would not run now


class Shard:
    """Owns the invariant that a frame is in flight on one link at most, with its number, until its answer is known.

    Args:
        address: The engine.
        options: Bounds and promises.
        index: Of the shard, from 0.
        count: How many shards there are.
        sender: The node's name in the engine, without spaces.
        arrived: Hears the publications of a frame; returns False if no more are wanted for now.
        interrupted: Hears that publications may be lost.
        in_use: The channels of this shard with clients.
        counts: What the node counts.
    """

    def __init__(
        self,
        address: Address,
        options: Options,
        *,
        index: int,
        count: int,
        sender: str,
        arrived: Callable[[Sequence[Arrival]], bool],
        interrupted: Callable[[], None],
        in_use: InUse,
        counts: Counts,
    ) -> None:
        self._address = address
        self._options = options
        self._layout = f"{LAYOUT}/{count}"
        self._sender = sender
        self._prefix = prefix = f"{options.prefix}:{{{index}}}:"
        self._loop = loop = asyncio.get_running_loop()
        self._counts = counts
        self._room = WaitingRoom(loop, publish_seconds=options.publish_seconds, counts=counts)
        channel_seconds = max(options.channel_seconds, 2 * options.history_seconds)
        stays = {"channel_seconds": channel_seconds, "unpublished_seconds": options.unpublished_seconds}
        self._touches = Touches(**stays, in_use=in_use, touch=self._touch)
        channel_ms, unpublished_ms = (int(seconds * 1000) for seconds in stays.values())
        self._taking = Taking(prefix, options, sender=sender, channel_ms=channel_ms)
        self._opens = Opens(prefix, channel_ms=channel_ms, unpublished_ms=unpublished_ms, send=self._send_opens)
        self._tail = Tail(
            f"{prefix}live", arrived=arrived, interrupted=interrupted, settled=self._settled, counts=counts
        )
        self._dialled: Dialled | None = None
        self._up = self._was_up = self._scheduled = False
        self._why = "it has not been reached yet"
        self._lost_at: float | None = None  # the start, or the end of the latest link that was up
        self._links_lost = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._look_timer: asyncio.TimerHandle | None = None
        self._looks = 0
        self._checked_at: float | None = None  # when the check was sent that is not answered yet
        self._answer: Any = None  # to the frame in flight, while replicas are waited for

    async def start(self) -> None:
        """Connects, and goes on trying if the engine cannot be reached now. Raises SettingsError if it refuses us."""
        try:
            await self._connect()
        except OSError as error:
            self._failed(error)
        name = f"fanwise backplane {self._address}"
        links = stay_connected(self._connect, is_up=self._has_link, lost=self._links_lost, failed=self._failed)
        self._tasks = {self._loop.create_task(links, name=name)}
        seconds = look_seconds(self._address)
        if seconds is not None:
            self._tasks.add(self._loop.create_task(self._follow(seconds), name=name))
        self._look()

    async def stop(self) -> None:
        """Disconnects; what waits fails."""
        if self._look_timer is not None:
            self._look_timer.cancel()
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._dialled is not None:
            dialled, self._dialled = self._dialled, None
            dialled.link.abort()
        self._up, self._why = False, "the server stops"
        self._room.shut()
        self._opens.shut()

    def publish(self, outgoing: Outgoing, together: Together | None = None) -> asyncio.Future[Position]:
        """Publishes, in a frame with all that is published in this turn of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._end_of_turn)
        return self._room.enter(outgoing, together)

    def open(self, channel: str, since: Position | None, done: Done) -> None:
        """Asks where a channel stands."""
        self._opens.enter(channel, since, done, gives_up_at=self._loop.time() + self._options.publish_seconds)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._end_of_turn)

    def go_on(self) -> None:
        """Reads on, if the link was paused."""
        if self._dialled is not None:
            self._dialled.link.resume()

    def standing(self) -> Standing:
        """Returns how the link is."""
        engine = "" if self._dialled is None else self._dialled.engine
        if self._up:
            assert self._dialled is not None
            silent = time.monotonic() - self._dialled.link.heard_at
        else:
            silent = time.monotonic() - self._lost_at if self._was_up and self._lost_at is not None else inf
        return Standing(self._up, self._tail.behind, silent, engine, "" if self._up else self._why)

    # The link.

    def _has_link(self) -> bool:
        return self._dialled is not None and not self._dialled.link.lost

    async def _follow(self, seconds: float) -> None:
        """Leaves an engine that is the primary no more, and does not know that."""
        while True:
            await asyncio.sleep(seconds)
            dialled = self._dialled
            if self._up and dialled is not None and await has_moved(self._address, dialled.place, dialled.link.peer):
                self._why = "the primary is elsewhere"
                dialled.link.abort()

    async def _connect(self) -> None:
        self._links_lost.clear()
        name = f"fanwise-{self._sender}"
        dialled = await dial(
            self._address, name, durable=self._options.durable, on_push=self._tail.pushed, on_lost=self._lost
        )
        self._dialled, link = dialled, dialled.link
        try:
            async with asyncio.timeout(self._options.check_seconds):
                link.send_unanswered("SUBSCRIBE", f"{self._prefix}live")
                await self._verify(dialled)
        except BaseException:
            link.abort()
            raise

    async def _verify(self, dialled: Dialled) -> None:
        """Asks whether the data is what we know, and takes over the link with the answer."""
        future: asyncio.Future[None] = self._loop.create_future()

        def heard(reply: Any) -> None:  # at its place in the order of the wire: frames behind it are ours
            if isinstance(reply, hiredis.ReplyError):
                reply = refusal(self._address, reply)
            if not isinstance(reply, Exception):
                self._taken_over(dialled.link, int(reply[0]), int(reply[1]))
            if future.done():
                return
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(None)

        keys = (f"{self._prefix}shard", f"{self._prefix}live")
        seen = (str(self._tail.generation), str(self._tail.number), self._layout)
        durable = "1" if self._options.durable else "0"
        dialled.link.send(heard, "EVALSHA", dialled.scripts["verify"], 2, *keys, dialled.lineage, durable, *seen)
        await future

    def _taken_over(self, link: Link, generation: int, number: int) -> None:
        self._up, self._was_up, self._why = True, True, ""
        self._checked_at = None
        self._counts.links += 1
        if self._lost_at is not None:
            seconds = time.monotonic() - self._lost_at
            frames = max(0, number - self._tail.number) if generation == self._tail.generation else 0
            log(Event.BACKPLANE_BACK, address=str(self._address), seconds=seconds, frames=frames)
            self._lost_at = None
        self._tail.verified(link, generation, number)
        self._room.drop_given_up()
        if self._room.frame is not None:
            self._send_frame(self._room.frame)  # again, with its number: it may have been taken
        else:
            self._pump()

    def _lost(self, link: Link) -> None:
        if self._dialled is None or link is not self._dialled.link:
            return  # it was never verified
        self._failed(LinkError("the link was lost"))
        self._tail.lost()
        self._opens.lost()
        self._links_lost.set()

    def _failed(self, error: Exception) -> None:
        self._up, self._why = False, str(error) or type(error).__name__
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            log(Event.BACKPLANE_LOST, address=str(self._address), why=self._why)

    # The check, and what waits for too long.

    def _look(self) -> None:
        self._look_timer = self._loop.call_later(self._options.check_seconds / _LOOKS, self._look)
        self._looks += 1
        why = self._why or "it does not answer"
        self._room.give_up(why)
        self._opens.give_up(self._loop.time(), why)
        if not self._up:
            return
        assert self._dialled is not None
        link = self._dialled.link
        self._touches.go_on(time.monotonic())
        if self._checked_at is None and self._looks % _LOOKS == 0:
            self._checked_at = time.monotonic()
            link.send(self._check_answered, "HMGET", f"{self._prefix}shard", "g", "n")
        elif self._checked_at is not None and not link.paused and self._is_silent(link):
            self._why = "it does not answer"
            link.abort()

    def _is_silent(self, link: Link) -> bool:
        assert self._checked_at is not None
        asked_at = max(self._checked_at, link.heard_at)  # one that sends much answers late
        return time.monotonic() - asked_at > self._options.check_seconds

    def _check_answered(self, reply: Any) -> None:
        self._checked_at = None
        if not isinstance(reply, Exception):
            self._tail.checked(int(reply[0] or 0), int(reply[1] or 0))

    # Publishing.

    def _end_of_turn(self) -> None:
        self._scheduled = False
        if self._up:
            self._pump()
            self._settled()

    def _pump(self) -> None:
        """Sends the next frame, if none is in flight: so frames grow where the engine is busy."""
        if self._up and self._room.frame is None:
            frame = self._room.next_frame()
            if frame is not None:
                self._send_frame(frame)

    def _send_frame(self, frame: Frame) -> None:
        assert self._dialled is not None
        link, sha, replicas = self._dialled.link, self._dialled.scripts["publish"], self._options.replicas
        keys, arguments = self._taking.call(frame, self._tail.generation)
        link.send(lambda reply: self._answered(link, frame, reply), "EVALSHA", sha, len(keys), *keys, *arguments)
        if replicas:
            link.send(lambda reply: self._replicated(link, frame, reply), "WAIT", replicas, _REPLICA_MS)

    def _answered(self, link: Link, frame: Frame, reply: Any) -> None:
        if frame is not self._room.frame or isinstance(reply, LinkError):
            return  # it stays in flight, and is sent again on the next link
        if isinstance(reply, Exception):
            self._frame_refused(link, str(reply))
        elif self._options.replicas:
            self._answer = reply
        else:
            self._settle(reply)

    def _frame_refused(self, link: Link, why: str) -> None:
        if why.startswith(_ELSEWHERE):
            self._why = why
            link.abort()
            return
        self._room.settle(BackplaneDownError(why) if why.startswith(_REFUSED) else UnconfirmedError(why))
        self._pump()

    def _replicated(self, link: Link, frame: Frame, reply: Any) -> None:
        if frame is not self._room.frame or link.lost or self._answer is None:
            return
        if isinstance(reply, Exception):
            link.abort()
        elif reply < self._options.replicas:
            self._answer = None
            self._room.settle(UnconfirmedError(f"{reply} of {self._options.replicas} replicas have it"))
            self._pump()
        else:
            self._settle(self._answer)

    def _settle(self, answer: bytes) -> None:
        self._answer = None
        assert self._room.frame is not None
        self._room.settle(positions(self._room.frame, answer))
        self._pump()

    # Opening, and what is in use.

    def _touch(self, channel: str, milliseconds: int) -> None:
        assert self._dialled is not None
        self._dialled.link.send(lambda _: None, "PEXPIRE", f"{self._prefix}m:{channel}", milliseconds)

    def _settled(self) -> None:
        """Asks where channels stand, once nothing is missing: all that was asked for before is in order then."""
        if self._up and self._tail.settled:
            self._opens.go_on(self._tail.generation)

    def _send_opens(self, keys: list[str], arguments: list[str], answered: Callable[[Any], None]) -> None:
        assert self._dialled is not None
        link = self._dialled.link

        def heard(reply: Any) -> None:
            if isinstance(reply, LinkError):
                return  # `lost` has taken back what was asked
            if not isinstance(reply, Exception):
                answered(reply)
            elif str(reply).startswith(_ELSEWHERE):
                self._why = str(reply)
                link.abort()
            else:  # one of these channels is the reason, and no other link would help
                self._opens.refused(str(reply))
                self._settled()

        link.send(heard, "EVALSHA", self._dialled.scripts["open"], len(keys), *keys, *arguments)

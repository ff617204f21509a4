"""One engine, and the link to it for as long as the server runs."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from math import inf
from typing import Final

from ...core.publication import Position
from ...errors import SettingsError
from ...logs.events import Event, log
from ..counts import Counts
from ..options import Options
from ..port import Arrival, Done, Listener, Outgoing, Standing
from ..reconnecting import stay_connected
from ..together import Together
from ..waiting import WaitingRoom
from .address import Address
from .dial import DIAL_SECONDS, ApiError, api, dial, read_answer
from .fleet import NatsFleet
from .life import CHANNEL_SECONDS, Life, Lives
from .link import NOT_PERMITTED, Delivery, Link, LinkError
from .messages import Message, token_of
from .opens import REPLY_SECONDS, Opens
from .reader import Reader
from .sending import Sending
from .tail import Tail, consumer

_LOOKS: Final = 4  # per `check_seconds`, at what has waited for too long
_PATIENCE: Final = 2  # times `check_seconds`, with a publication that is not answered
_ROUNDS: Final = 4  # within the time for which the stream has a channel
_NAME_BYTES: Final = 6


class NatsBackplane:
    """A connection of one node to a server or cluster with JetStream (`port.Backplane`).

    Args:
        address: The server, or servers of one cluster.
        options: Bounds and promises, as all nodes have them.

    Raises:
        SettingsError: The prefix is not allowed.
    """

    def __init__(self, address: Address, options: Options) -> None:
        self.counts = Counts()
        self._address = address
        self._options = options
        self._sender = secrets.token_hex(_NAME_BYTES)
        self._lives = Lives(address, options, patience_seconds=options.check_seconds)
        self._listener: Listener | None = None
        self._link: Link | None = None
        self._reader: Reader | None = None
        self._life: Life | None = None
        self._up = False
        self._why = "it has not been reached yet"
        self._lost_at: float | None = None  # the start, or the end of the latest link that was up
        self._links_lost = asyncio.Event()
        self._attempts = 0
        self._task: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looks = 0
        self._checking = False
        self._checked_at = 0.0  # when the check was sent
        self._target = (0, 0)  # what the latest check has found: the stream's newest message, and ours
        self._first = 0  # the stream's oldest message then
        self._behind = 0
        self._questions: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def start(self, listener: Listener) -> None:
        """Connects, and goes on trying if the engine cannot be reached now. Raises SettingsError if it refuses us."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._room = WaitingRoom(self._loop, publish_seconds=self._options.publish_seconds, counts=self.counts)
        self._tail = Tail(arrived=self._arrived, interrupted=self._interrupted, heard=self._heard, counts=self.counts)
        self._opens = Opens(self._options, self._tail, fail=self._fail)
        self._sending = Sending(
            self._room,
            self._tail,
            sender=self._sender,
            turns=f"{token_of(self._options.prefix)}.turn",
            look_up=self._look_up,
            recall=self._recall,
            fail=self._fail,
        )
        try:
            await self._connect()
        except OSError as error:
            self._failed(error)
        links = stay_connected(self._connect, is_up=self._has_link, lost=self._links_lost, failed=self._failed)
        self._task = self._loop.create_task(links, name=f"fanwise backplane {self._address}")
        self._keeper = self._loop.create_task(self._keep(), name=f"fanwise backplane keeper {self._address}")
        self._look()

    async def stop(self) -> None:
        """Disconnects; what waits fails."""
        if self._listener is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        tasks = {*self._questions, *(task for task in (self._task, self._keeper) if task is not None)}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._task = self._keeper = None
        link, self._link = self._link, None
        if link is not None:
            link.abort()
        self._up, self._why = False, "the server stops"
        self._sending.down()
        self._room.shut()
        await self._opens.shut()
        self._listener = None

    def publish(self, outgoing: Outgoing, together: Together | None = None) -> asyncio.Future[Position]:
        """Publishes, in a message with all that is published to the channel in this turn of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._end_of_turn)
        return self._room.enter(outgoing, together)

    def open(self, channel: str, since: Position | None, done: Done) -> None:
        """Asks where a channel stands."""
        self._opens.enter(channel, since, done)

    def go_on(self) -> None:
        """Reads on, if the link was paused."""
        if self._link is not None:
            self._link.resume()

    def standing(self) -> Standing:
        """Returns how the link is."""
        link = self._link
        if link is None:
            return Standing(up=False, behind=0, silent_seconds=inf, engine="", why=self._why)
        engine = f"nats-server {link.info.get('version', '')}"
        silent = time.monotonic() - link.heard_at
        return Standing(self._up, self._behind, silent, engine, "" if self._up else self._why)

    def fleet(self) -> NatsFleet:
        """Returns a connection to the other workers."""
        return NatsFleet(self._address, self._options)

    # The link.

    def _has_link(self) -> bool:
        return self._link is not None and not self._link.lost

    async def _keep(self) -> None:
        """Keeps the channels with clients in the stream, one after the other, several times before they would go."""
        while True:
            await asyncio.sleep(CHANNEL_SECONDS / _ROUNDS)
            await self._keep_channels(CHANNEL_SECONDS / 2)

    async def _keep_channels(self, seconds: float) -> None:
        for channel in [] if self._listener is None else list(self._listener.in_use(published=True)):
            if self._reader is not None:
                with suppress(ApiError, OSError):  # the next round comes in time
                    async with asyncio.timeout(REPLY_SECONDS):
                        await self._reader.keep(channel, seconds=seconds)

    async def _connect(self) -> None:
        self._links_lost.clear()
        self._attempts += 1
        link = await dial(self._address, self._attempts - 1, f"fanwise-{self._sender}", self._lost)
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                life = await self._lives.find(link)
                await self._compare(link, life)
                await self._take_over(link, life)
        except BaseException as error:
            link.abort()
            if isinstance(error, ApiError | TimeoutError | LinkError):
                raise self._refusal(link, error) from error
            raise

    def _refusal(self, link: Link, error: Exception) -> Exception:
        """Returns what keeps a link from being used: for good, or worth another attempt."""
        if link.error.startswith(NOT_PERMITTED):
            return SettingsError([f"backplane {self._address}: {link.error}"])
        return LinkError(link.error or str(error) or "JetStream does not answer")

    async def _compare(self, link: Link, life: Life) -> None:
        """Begins another life if this one has lost what we have heard of it. Raises LinkError then."""
        if self._life is None or life.stream != self._life.stream:
            return
        sequence, _ = place = self._tail.place
        lost = life.last < self._tail.number
        if sequence and not lost:
            found = await Reader(link, life.stream, life.base, self._sender).at(sequence)
            lost = found is not None and found != place
        if lost:
            await self._lives.turn(link, life)
            raise LinkError("the stream has lost publications")

    async def _take_over(self, link: Link, life: Life) -> None:
        """Hears the stream on a link, and publishes and opens on it."""
        turned = self._life is None or life.stream != self._life.stream
        first, self._life, self._link = self._life is None, life, link
        if turned:
            self._tail.turned(life.last, first=first)
        self._tail.begin(link)
        inbox = f"{link.inbox}.d"
        link.subscribe(inbox, lambda delivery: self._tail.delivered(link, delivery))
        link.subscribe(self._sending.turns, self._sending.claimed)
        config = consumer(self._tail.number, inbox)
        await api(link, f"CONSUMER.CREATE.{life.stream}", {"stream_name": life.stream, "config": config})
        self._up, self._why = True, ""
        self._checking, self._behind = False, 0
        self._target = (0, 0)
        if self._lost_at is not None:
            frames = 0 if turned else life.last - self._tail.number
            seconds = time.monotonic() - self._lost_at
            log(Event.BACKPLANE_BACK, address=str(self._address), seconds=seconds, frames=frames)
            self._lost_at = None
        self.counts.links += 1
        self._reader = Reader(link, life.stream, life.base, self._sender)
        self._sending.up(link, life.base)
        self._opens.up(self._reader, life.ahead_ms)

    def _lost(self, link: Link) -> None:
        if link is not self._link:
            return  # it was never taken over
        self._failed(LinkError(self._why or link.error or "the link was lost"))
        self._tail.lost()
        self._sending.down()
        self._opens.down()
        self._links_lost.set()

    def _failed(self, error: Exception) -> None:
        self._up, self._why = False, str(error) or type(error).__name__
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            log(Event.BACKPLANE_LOST, address=str(self._address), why=self._why)

    def _fail(self, why: str) -> None:
        """Gives the link up: the next one finds out how things are. One that is paused could not have answered."""
        if self._link is not None and not self._link.lost and not self._link.paused:
            self._why = why
            self._link.abort()

    # The check, and what waits for too long.

    def _look(self) -> None:
        self._timer = self._loop.call_later(self._options.check_seconds / _LOOKS, self._look)
        self._looks += 1
        why = self._why or "it does not answer"
        self._room.give_up(why)
        self._opens.give_up(self._loop.time(), why)
        link = self._link
        if not self._up or link is None or self._life is None or link.paused:
            return
        seconds = self._options.check_seconds
        if self._checking:
            if time.monotonic() - max(self._checked_at, link.heard_at) > seconds:
                self._fail("it does not answer")
        elif self._sending.waits_since() < self._loop.time() - _PATIENCE * seconds:
            self._fail("publications are not answered")
        elif self._looks % _LOOKS == 0:
            self._checking, self._checked_at = True, time.monotonic()
            number = self._tail.number
            link.request(
                lambda reply: self._checked(link, number, reply), f"$JS.API.STREAM.INFO.{self._life.stream}", b""
            )
        else:
            self._judge()

    def _checked(self, link: Link, heard: int, reply: Delivery | Exception) -> None:
        if link is not self._link or isinstance(reply, Exception):
            return
        self._checking = False
        try:
            state = read_answer(reply)["state"]
        except ApiError as error:  # the stream is gone, or has no leader
            self._fail(str(error))
            return
        last, number = int(state["last_seq"]), self._tail.number
        self._behind = max(0, last - number)
        self._target = (last, number)
        self._first = int(state["first_seq"])
        if last < heard:  # what was heard since may be younger than the answer
            self._fail("the stream has lost publications")

    def _judge(self) -> None:
        """Looks whether what the check has found missing has come meanwhile."""
        last, number = self._target
        if self._tail.number >= last or self._tail.number != number:
            return
        self._target = (0, 0)
        if self._first > number + 1:  # it was deleted before we had it
            self._tail.hole(self._first - 1)
            return
        self.counts.deaf += 1
        log(Event.BACKPLANE_DEAF, frames=last - number)
        self._fail("messages were not delivered")

    # What comes.

    def _arrived(self, arrivals: Sequence[Arrival]) -> bool:
        return self._listener is None or self._listener.arrived(arrivals)

    def _interrupted(self) -> None:
        if self._listener is not None:
            self._listener.interrupted(lambda _: True)

    def _heard(self, message: Message) -> None:
        self._opens.heard(message)
        self._sending.heard(message)

    # What goes.

    def _end_of_turn(self) -> None:
        self._scheduled = False
        self._sending.pump()

    def _look_up(self, channel: str) -> None:
        def found(last: Message | None) -> None:
            self._sending.looked_up(channel, last.head if last is not None else None)

        self._ask(lambda reader: reader.last(channel), found)

    def _recall(self, sequence: int, heard: Callable[[Message | None], None]) -> None:
        self._ask(lambda reader: reader.get(sequence), heard)

    def _ask(
        self,
        question: Callable[[Reader], Coroutine[None, None, Message | None]],
        heard: Callable[[Message | None], None],
    ) -> None:
        """Asks for a message on the link that there is now; an answer that comes on another one is not heard."""
        task = self._loop.create_task(self._answer(question, heard), name="fanwise backplane question")
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)

    async def _answer(
        self,
        question: Callable[[Reader], Coroutine[None, None, Message | None]],
        heard: Callable[[Message | None], None],
    ) -> None:
        reader = self._reader
        if reader is None:
            return
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                message = await question(reader)
        except (ApiError, OSError) as error:  # TimeoutError is one
            self._fail(str(error) or "questions are not answered")
        else:
            if reader is self._reader:
                heard(message)

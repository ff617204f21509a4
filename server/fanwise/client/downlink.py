"""The subscribing half of the client: which channels are wanted, and what came in and waits for the program."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ..core.publication import Position
from .codec import Arrival, Direct, Event, Failure, Gap, Skipped, Subscribed, Unsubscribed, Welcome, encode_unsubscribe
from .errors import NotConnectedError, SubscribeError
from .link import Link
from .presence import Change, Join, Leave, PresenceGap
from .subscription import Item, Track

logger = logging.getLogger("fanwise.client")

# A program that subscribes from inside its own loop over the messages does not read meanwhile, and the answer stands
# behind messages of other channels. While it waits, the mailbox may hold so many times its bounds.
_STRETCH = 8

Entry: TypeAlias = Item | Direct | SubscribeError
_Placed: TypeAlias = tuple[Track | None, Entry, int]  # (whose, what, characters of its frame)


class Mailbox:
    """A bounded queue between the connection and the program: `put` waits while the queue is full.

    Args:
        queue_messages: Its bound in messages and gaps.
        queue_bytes: Its bound in characters of their frames. One message of any size fits in.
    """

    def __init__(self, *, queue_messages: int, queue_bytes: int) -> None:
        if queue_messages < 1 or queue_bytes < 1:
            raise ValueError(f"queue_messages={queue_messages} and queue_bytes={queue_bytes} must be at least 1")
        self._queue_messages = queue_messages
        self._queue_bytes = queue_bytes
        self._entries: deque[_Placed] = deque()
        self._bytes = 0
        self._stretched = 0  # how many answers are waited for
        self._end: Exception | None = None
        self._room = asyncio.Event()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    @contextlib.contextmanager
    def stretched(self) -> Iterator[None]:
        """Lets the mailbox hold more while an answer is waited for that stands behind the messages."""
        self._stretched += 1
        self._room.set()
        try:
            yield
        finally:
            self._stretched -= 1

    async def put(self, track: Track | None, item: Entry, frame_characters: int) -> None:
        """Adds an item when there is room; drops it when the mailbox has ended."""
        while self._end is None and self._is_full():
            self._room.clear()
            await self._room.wait()
        if self._end is None:
            self._entries.append((track, item, frame_characters))
            self._bytes += frame_characters
            self._filled.set()

    async def get(self) -> tuple[Track | None, Entry]:
        """The next item, and its track. Cancelling it loses nothing.

        Raises:
            Exception: The error given to `end`, when everything before is handed out.
        """
        while not self._entries:
            if self._end is not None:
                raise self._end
            self._filled.clear()
            await self._filled.wait()
        return self.pop()

    def pop(self) -> tuple[Track | None, Entry]:
        """Returns the next item, and its track, of a mailbox that has one."""
        track, item, frame_characters = self._entries.popleft()
        self._bytes -= frame_characters
        self._room.set()
        return track, item

    def end(self, error: Exception, *, discard: bool = False) -> None:
        """Takes no more; `get` raises `error` after what is here already, or at once. The first reason wins."""
        if discard:
            self._entries.clear()
            self._bytes = 0
        if self._end is None:
            self._end = error
        self._room.set()
        self._filled.set()

    def _is_full(self) -> bool:
        factor = _STRETCH if self._stretched else 1
        return len(self._entries) >= factor * self._queue_messages or self._bytes >= factor * self._queue_bytes


class Downlink:
    """Makes each connection carry the channels that are wanted, and sorts what comes in. A `Listener` of a link."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.tracks: dict[str, Track] = {}  # {channel that is wanted: its stream}
        self._mailbox = mailbox
        self._answers: dict[Track, asyncio.Future[Position | Exception]] = {}  # {stream: its answer}, while awaited
        # The rest is about the current connection.
        self._asked: dict[str, Track] = {}  # {channel: for which stream it was asked for}
        self._leaving: dict[str, int] = {}  # {channel: how many `unsubscribed` are due}; until then nothing is news
        self._changed: dict[str, None] = {}  # channels of which more or less may be wanted than was asked for
        self._dirty = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None

    async def subscribe(self, link: Link, track: Track, acknowledge_seconds: float | None) -> Position:
        """Asks for a channel, on this connection and on later ones; returns the position at which its stream begins."""
        answer: asyncio.Future[Position | Exception] = asyncio.get_running_loop().create_future()
        self._answers[track] = answer
        self.tracks[track.channel] = track
        self._mark(track.channel)
        try:
            async with asyncio.timeout(acknowledge_seconds):
                with self._mailbox.stretched():
                    result = await answer
        except TimeoutError as error:
            self.drop(track)
            raise NotConnectedError(url=link.url, seconds=acknowledge_seconds or 0.0, last=link.last_failure) from error
        except BaseException:  # cancelled: the caller does not know of a subscription; raised again
            self.drop(track)
            raise
        if isinstance(result, Exception):
            self.drop(track)
            raise result
        return result

    def drop(self, track: Track) -> None:
        """Gives up a channel: nothing of it is handed out after this, and a waiting `subscribe` gets an error."""
        channel = track.channel
        if self.tracks.get(channel) is track:
            del self.tracks[channel]
            self._mark(channel)
        self._answer(track, SubscribeError(channel=channel, code="not_subscribed", message="it was given up meanwhile"))

    async def take(self, event: Event, frame_characters: int) -> None:
        """Takes the server's next event. Waits while the mailbox is full."""
        match event:
            case Arrival() | Gap() | Skipped() | Subscribed() | Join() | Leave() | PresenceGap():
                track = self._track(event.channel)
                if track is not None:
                    for item in self._items(track, event):
                        await self._mailbox.put(track, item, frame_characters)
            case Direct():
                await self._mailbox.put(None, event, frame_characters)
            case Unsubscribed():
                await self._unsubscribed(event.channel, frame_characters)
            case Failure():
                await self._failed(event, frame_characters)
            case _:
                logger.warning("the server sent %r, which nobody asked for", event)

    def _items(self, track: Track, event: Arrival | Gap | Skipped | Subscribed | Change) -> Sequence[Item]:
        """Returns what the program gets of an event of its channel."""
        match event:
            case Arrival():
                return track.arrive(event)
            case Gap():
                return track.skip(event)
            case Skipped():
                track.pass_over(event.position)
                return []
            case Subscribed(position=position):
                items = track.begin(position)
                self._answer(track, position)
                return items
            case _:
                return [event]

    def welcomed(self, connection: ClientConnection, welcome: Welcome) -> None:  # noqa: ARG002 - the Listener's signature
        """Asks a new connection for all wanted channels, each from its received position."""
        self._asked.clear()
        self._leaving.clear()
        self._changed = dict.fromkeys(self.tracks)
        self._dirty.set()
        self._sender = asyncio.create_task(self._send(connection))

    def lost(self, why: str) -> None:  # noqa: ARG002 - the Listener's signature
        """Subscriptions stay: the next connection is asked for them."""
        if self._sender is not None:
            self._sender.cancel()

    def ended(self, error: Exception) -> None:
        """Hands the error to waiting calls, and to the program when everything before is read."""
        self._mailbox.end(error)
        for track in list(self._answers):
            self._answer(track, error)

    async def _send(self, connection: ClientConnection) -> None:
        """Beside the reading, which must go on: the server may have to write before it can read what we ask."""
        with contextlib.suppress(ConnectionClosed):  # the reader sees it too, and the next connection asks again
            while True:
                while self._changed:
                    frame = self._next_request(next(iter(self._changed)))
                    if frame is not None:
                        await connection.send(frame)
                self._dirty.clear()
                await self._dirty.wait()

    def _next_request(self, channel: str) -> str | None:
        """Returns the next frame on the way to the wanted state of `channel`; None when there is nothing to ask."""
        asked, wanted = self._asked.get(channel), self.tracks.get(channel)
        if asked is not None and asked is not wanted:
            del self._asked[channel]
            self._leaving[channel] = self._leaving.get(channel, 0) + 1
            return encode_unsubscribe(channel)
        del self._changed[channel]
        if wanted is None or asked is wanted:
            return None
        self._asked[channel] = wanted
        return wanted.request()

    def _mark(self, channel: str) -> None:
        self._changed[channel] = None
        self._dirty.set()

    def _track(self, channel: str) -> Track | None:
        """Returns the track of a frame; None for a frame that was on its way when the channel was given up."""
        track = self._asked.get(channel)
        return None if channel in self._leaving or self.tracks.get(channel) is not track else track

    def _left(self, channel: str) -> None:
        due = self._leaving.pop(channel, 0) - 1
        if due > 0:
            self._leaving[channel] = due

    async def _unsubscribed(self, channel: str, frame_characters: int) -> None:
        """The last frame of a channel that was given up, or that the server gives to this user no more."""
        if channel in self._leaving or channel not in self._asked:
            self._left(channel)
        else:
            message = "the server has ended the subscription: the user has no right to it any more"
            await self._failed(Failure("forbidden", message, None, channel), frame_characters)

    async def _failed(self, failure: Failure, frame_characters: int) -> None:
        if failure.code == "not_subscribed":  # the subscription had failed before we gave it up
            return self._left(failure.channel)
        if failure.channel in self._leaving:
            return None  # the error of a channel given up: `not_subscribed` follows
        error = SubscribeError(channel=failure.channel, code=failure.code, message=failure.message)
        track = self._track(failure.channel)
        if track is not None:
            del self._asked[failure.channel], self.tracks[failure.channel]
        if track is None or not self._answer(track, error):
            await self._mailbox.put(None, error, frame_characters)
        return None

    def _answer(self, track: Track, result: Position | Exception) -> bool:
        """Returns whether a call waited for the answer."""
        answer = self._answers.pop(track, None)
        if answer is None or answer.done():
            return False
        answer.set_result(result)
        return True

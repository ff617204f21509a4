"""One connection to a server, kept up: opened, read, and opened again after a loss."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus, ProxyError, WebSocketException

from .backoff import LOST_CODE, Backoff, may_reconnect, restart_hint_seconds, retry_after_seconds
from .codec import SUBPROTOCOL, Event, Welcome, decode
from .errors import ClosedError, DialectError, RefusedError

logger = logging.getLogger("fanwise.client")

# A shorter connection counts as a failed attempt: a server that accepts clients and drops them at once must not be
# asked again and again without a pause.
STEADY_SECONDS = 5.0

_TRY_AGAIN_STATUSES = {408, 425, 429}  # and all above 499; every other status stays what it is (RFC 9110 section 15)
_TEXT_CHARACTERS = 500  # of the body of a refusal, which may be a whole error page


class State(Enum):
    """The state of a link."""

    IDLE = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    WAITING = auto()
    CLOSED = auto()


class Listener(Protocol):
    """The owner of a link: notified of the connection and its frames."""

    def welcomed(self, connection: ClientConnection, welcome: Welcome) -> None:
        """A connection stands. Must not wait: nothing is read meanwhile."""

    async def take(self, event: Event, frame_characters: int) -> None:
        """Takes the next frame. Reading stops until `take` returns: that is the backpressure."""

    def lost(self, why: str) -> None:
        """The connection is gone; another one comes, unless `ended` follows."""

    def ended(self, error: Exception) -> None:
        """The link is closed for good."""


class Link:
    """Keeps a connection up until it is closed or the server says not to come back.

    Args:
        url: Of the server, for errors.
        open_connection: Opens a connection; asks for the subprotocol. Its RefusedError ends the link.
        listener: Notified of the connection and its frames.
        backoff: The waits between attempts; this link's own.
        sleep: Waits for so many seconds.
        clock: Now, in seconds.
        welcome_seconds: How long the server may take to say the first word.
    """

    def __init__(
        self,
        url: str,
        open_connection: Callable[[], Awaitable[ClientConnection]],
        listener: Listener,
        *,
        backoff: Backoff,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
        welcome_seconds: float,
    ) -> None:
        self.url = url
        self.state = State.IDLE
        self.last_failure = ""
        self._open_connection = open_connection
        self._listener = listener
        self._backoff = backoff
        self._sleep = sleep
        self._clock = clock
        self._welcome_seconds = welcome_seconds
        self._task: asyncio.Task[None] | None = None
        self._connection: ClientConnection | None = None
        self._error: Exception | None = None  # why there will not be another connection
        self._settled = asyncio.Event()  # there is a connection, or there will not be another
        self._hinted = False  # whether the last wait was one that the server asked for

    def start(self) -> None:
        """Begins to connect, at the first call; raises the error of a link that is closed for good."""
        if self._error is not None:
            raise self._error
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def connected(self) -> ClientConnection:
        """Returns the connection, once there is one; callers get the connection in the order of their calls.

        Raises:
            RefusedError: The server does not want us.
            ClosedError: The server does not want us back, or the link was closed.
        """
        while self._connection is None:
            if self._error is not None:
                raise self._error
            await self._settled.wait()
        return self._connection

    async def close(self) -> None:
        """Closes the connection with 1000 and does not come back. The listener has to go on taking until then."""
        self._end(ClosedError(code=1000, reason="closed by this client"))
        try:
            if self._connection is not None:
                await self._connection.close()
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while True:
                seconds = await self._attempt()
                if self._error is not None:  # closed meanwhile
                    return
                self.state = State.WAITING
                logger.warning("%s: trying again in %.2f seconds", self.last_failure, seconds)
                await self._sleep(seconds)
        except (ClosedError, RefusedError, DialectError) as error:
            self._end(error)
        except Exception as error:  # an error of ours: callers that wait for the link must get it
            logger.exception("the connection ended unexpectedly")
            self._end(error)

    async def _attempt(self) -> float:
        """Opens and reads one connection to its end; returns the wait before the next attempt."""
        self.state = State.CONNECTING
        try:
            connection = await self._open_connection()
        except RefusedError:  # of a function that fetches tokens, and wants no other attempt
            raise
        except (OSError, WebSocketException) as error:  # a TimeoutError is an OSError
            return self._seconds_after_refusal(error)
        began = self._clock()
        code, reason = LOST_CODE, ""
        try:
            await self._read(connection)
        except ConnectionClosed as closed:
            code, reason = close_of(closed)
        except TimeoutError:
            reason = f"no welcome within {self._welcome_seconds:g} seconds"
        finally:
            self._connection = None
            if self._error is None:
                self._settled.clear()
            connection.transport.abort()  # nothing happens if it is closed
            self.last_failure = f"connection lost ({code}" + (f": {reason})" if reason else ")")
            self._listener.lost(self.last_failure)
        if self._clock() - began >= STEADY_SECONDS:
            self._backoff.reset()
            self._hinted = False
        return self._seconds_after_close(code, reason)

    async def _read(self, connection: ClientConnection) -> None:
        if connection.subprotocol != SUBPROTOCOL:
            raise RefusedError(status=101, text=f"the server does not offer the subprotocol {SUBPROTOCOL}")
        async with asyncio.timeout(self._welcome_seconds):
            frame = await connection.recv()
        welcome = decode(frame)
        if not isinstance(welcome, Welcome):
            raise DialectError(what="no welcome", frame=frame)
        self.state = State.CONNECTED
        self._connection = connection
        self._settled.set()
        logger.info("connected as %s", welcome.client)
        self._listener.welcomed(connection, welcome)
        while True:
            frame = await connection.recv()
            event = decode(frame)
            if event is None:
                logger.warning("the server sent a kind of frame that this version does not know: %.64s", frame)
            else:
                await self._listener.take(event, len(frame))

    def _seconds_after_refusal(self, error: OSError | WebSocketException) -> float:
        """Returns the wait after a failed handshake; raises RefusedError if another attempt is in vain."""
        seconds = 0.0
        if isinstance(error, InvalidStatus):
            status, headers, body = error.response.status_code, error.response.headers, error.response.body
            text = bytes(body or b"")[:_TEXT_CHARACTERS].decode(errors="replace").strip()
            if status < 500 and status not in _TRY_AGAIN_STATUSES:  # noqa: PLR2004 - as the constant above says
                raise RefusedError(status=status, text=text) from error
            # With jitter on top: all clients refused in one second were given one time.
            seconds = retry_after_seconds(headers.get("Retry-After"))
            self.last_failure = f"refused with status {status}" + (f": {text}" if text else "")
        else:
            if not _is_passing(error):
                raise RefusedError(status=0, text=str(error)) from error
            self.last_failure = f"cannot connect: {error}"
        return seconds + self._backoff.next_seconds()

    def _seconds_after_close(self, code: int, reason: str) -> float:
        """Returns the wait after a close; raises ClosedError after a code that forbids to reconnect."""
        if not may_reconnect(code):
            raise ClosedError(code=code, reason=reason)
        hint_seconds = restart_hint_seconds(code, reason)
        if hint_seconds is None or self._hinted:  # the hint is for one attempt; if that was no good, backoff
            return self._backoff.next_seconds()
        self._hinted = True
        self._backoff.reset()
        return hint_seconds

    def _end(self, error: Exception) -> None:
        """The first reason wins."""
        if self._error is None:
            self._error = error
            self.state = State.CLOSED
            self._settled.set()
            self._listener.ended(error)


def close_of(closed: ConnectionClosed) -> tuple[int, str]:
    """(close code, close text) of an ended connection: of the side that closed first; (1006, "") without a close."""
    close = closed.rcvd if closed.rcvd is not None and closed.rcvd_then_sent is not False else closed.sent
    return (LOST_CODE, "") if close is None else (close.code, close.reason)


def _is_passing(error: OSError | WebSocketException) -> bool:
    """Returns whether a handshake that failed with `error` may well succeed later."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return False
    if isinstance(error, InvalidMessage):
        return isinstance(error.__cause__, EOFError)  # lost half-way; anything else is no HTTP
    return isinstance(error, OSError | ProxyError)

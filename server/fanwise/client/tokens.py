"""The token of a client: fetched when it is needed, and again before its time ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from .backoff import Backoff
from .codec import encode_authenticate
from .errors import RefusedError, TokenError

logger = logging.getLogger("fanwise.client")

Token: TypeAlias = str | Callable[[], Awaitable[str] | str]
"""A token, or the function, which may be a coroutine function, that fetches one."""

# A token is replaced when 70 to 85 % of its time are over: clients that were accepted together ask at different times.
_SHARE, _SPREAD = 0.7, 0.15

# Tokens are fetched at most once in this time while connections stand, however short the server says they last.
_REFRESH_SECONDS = 1.0


def check_secret(what: str, secret: str) -> str:
    """Returns `secret` if it fits into a header. Raises ValueError, which does not show the secret."""
    if not isinstance(secret, str) or not re.fullmatch(r"[!-~]+", secret):
        raise ValueError(f"the {what} must be printable ASCII without spaces, and not empty")
    return secret


class Tokens:
    """The newest token of a client. Owns the invariant that every open connection has been given the newest token.

    At most one fetch is under way. A token that the server has refused, or whose time is nearly over, is fetched again.

    Args:
        token: The token, which then stays what it is, or the function that fetches one.
        fetch_seconds: How long one fetch may take.
        backoff: The waits after a fetch or a token that was no good.
        clock: Now, in seconds.
        random: Returns a number from 0 to 1.

    Raises:
        ValueError: The token does not fit into a header.
    """

    def __init__(
        self,
        token: Token,
        *,
        fetch_seconds: float,
        backoff: Backoff,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._fetch = None if isinstance(token, str) else token
        self._token = check_secret("token", token) if isinstance(token, str) else None
        self._fetch_seconds = fetch_seconds
        self._backoff = backoff
        self._clock = clock
        self._random = random
        self._renew_at: float | None = None  # on the clock; None: the end of the token's time is unknown
        self._renew_seconds: float | None = None  # how long the last one was good for, until its renewal
        self._given: dict[ClientConnection, str] = {}  # {open connection: the token that it was given last}
        self._fetching: asyncio.Task[str] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def renewable(self) -> bool:
        """Whether there is a function that fetches another token."""
        return self._fetch is not None

    async def current(self) -> str:
        """Returns a token for a new connection.

        Raises:
            TokenError: The function failed, took too long or returned something else.
            RefusedError: The function raised it: no other attempt is wanted.
        """
        if self._token is not None and (not self.renewable or self._is_fresh()):
            return self._token
        return await self._renew()

    def discard(self) -> None:
        """The server does not take the token: the next connection fetches one."""
        if self.renewable:
            self._token = None

    def opened(self, connection: ClientConnection, token: str) -> None:
        """A connection stands, which was opened with `token`."""
        self._given[connection] = token
        if self.renewable and self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())
        self._changed.set()

    def ended(self, connection: ClientConnection) -> None:
        """A connection is gone."""
        self._given.pop(connection, None)

    def accepted(self, connection: ClientConnection, expires_in: float | None) -> None:
        """The server has taken the token of a connection, for `expires_in` seconds; None: for ever."""
        if self._given.get(connection) != self._token:
            return  # the answer to an older token
        self._backoff.reset()
        share = _SHARE + _SPREAD * self._random()
        self._renew_seconds = None if expires_in is None else max(_REFRESH_SECONDS, share * expires_in)
        self._set_time()

    def refused(self, why: str) -> None:
        """The server has not taken a new token; the one before stays in force until its time ends."""
        seconds = self._backoff.next_seconds()
        logger.warning("the server did not take the new token (%s): another one in %.2f seconds", why, seconds)
        self._renew_at = self._clock() + seconds
        self._changed.set()

    async def close(self) -> None:
        """Ends what is under way."""
        tasks = [task for task in (self._keeping, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _is_fresh(self) -> bool:
        return self._renew_at is None or self._clock() < self._renew_at

    def _set_time(self) -> None:
        self._renew_at = None if self._renew_seconds is None else self._clock() + self._renew_seconds
        self._changed.set()

    async def _renew(self) -> str:
        """Returns the token of the fetch that is under way, or of a new one; a cancelled caller ends no fetch."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch_one())
            self._fetching.add_done_callback(_retrieve)
        return await asyncio.shield(self._fetching)

    async def _fetch_one(self) -> str:
        token = await self._ask()
        if token != self._token:
            self._token = token
            self._set_time()  # as long as the one before, until the server has said it
        return token

    async def _ask(self) -> str:
        assert self._fetch is not None
        try:
            async with asyncio.timeout(self._fetch_seconds):
                result = self._fetch()
                return check_secret("token", await result if isawaitable(result) else result)
        except RefusedError:
            raise
        except TimeoutError as error:
            raise TokenError(f"none came within {self._fetch_seconds:g} seconds") from error
        except Exception as error:
            raise TokenError(f"{type(error).__name__}: {error}") from error

    async def _keep(self) -> None:
        """Gives each newest token to the open connections, and fetches it in time, while there are connections."""
        while True:
            self._changed.clear()
            await asyncio.gather(*(self._give(connection) for connection in list(self._given)))
            try:
                async with asyncio.timeout(self._seconds_left()):
                    await self._changed.wait()
            except TimeoutError:
                await self._refresh()

    def _seconds_left(self) -> float | None:
        if self._renew_at is None or not self._given:
            return None
        return max(0.0, self._renew_at - self._clock())

    async def _give(self, connection: ClientConnection) -> None:
        if self._token is not None and self._given[connection] != self._token:
            self._given[connection] = self._token
            with contextlib.suppress(ConnectionClosed):  # the next connection begins with the token
                await connection.send(encode_authenticate(self._token))

    async def _refresh(self) -> None:
        before = self._token
        try:
            why = "" if await self._renew() != before else "the function returned the same one again"
        except (TokenError, RefusedError) as error:
            why = str(error)
        if why:
            seconds = self._backoff.next_seconds()
            logger.warning("the token was not refreshed (%s): trying again in %.2f seconds", why, seconds)
            self._renew_at = self._clock() + seconds


def _retrieve(fetching: asyncio.Task[str]) -> None:
    """Looks at the error of a fetch that no caller waits for any more, which asyncio would log otherwise."""
    if not fetching.cancelled():
        fetching.exception()

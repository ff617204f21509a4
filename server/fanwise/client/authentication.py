"""A link that brings a token: into the handshake, and to the connection when there is a new one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from .codec import Authenticated, Event, Failure, Welcome
from .errors import TokenError
from .link import Listener
from .tokens import Tokens

EXPIRED_CODE = 4013  # the token's time was over
_UNAUTHORISED_STATUS = 401
_REFUSALS = {"unauthorised", "forbidden", "tokens_too_fast"}  # error codes of `authenticate`, which names no channel


class Authentication:
    """Stands between a link and its listener, and keeps what concerns the token to itself. A `Listener` of the link.

    Args:
        listener: Notified of everything else.
        tokens: The tokens of the client, for all its links.
        connect: Opens a connection with a token in its handshake.
    """

    def __init__(
        self, listener: Listener, tokens: Tokens, connect: Callable[[str], Awaitable[ClientConnection]]
    ) -> None:
        self._listener = listener
        self._tokens = tokens
        self._connect = connect
        self._connection: ClientConnection | None = None

    async def open(self) -> ClientConnection:
        """Opens a connection with the newest token.

        Raises:
            TokenError: There is no token, or the server refused one that can be fetched again.
        """
        token = await self._tokens.current()
        try:
            self._connection = await self._connect(token)
        except InvalidStatus as error:
            if error.response.status_code != _UNAUTHORISED_STATUS or not self._tokens.renewable:
                raise
            self._tokens.discard()
            text = bytes(error.response.body or b"")[:500].decode(errors="replace").strip()
            raise TokenError(f"the server refused it with status 401: {text}") from error
        self._tokens.opened(self._connection, token)
        return self._connection

    def welcomed(self, connection: ClientConnection, welcome: Welcome) -> None:
        """The token of the handshake is accepted."""
        self._tokens.accepted(connection, welcome.expires_in)
        self._listener.welcomed(connection, welcome)

    async def take(self, event: Event, frame_characters: int) -> None:
        """Takes the answers to tokens, and hands on everything else."""
        match event:
            case Authenticated(expires_in=expires_in):
                if self._connection is not None:
                    self._tokens.accepted(self._connection, expires_in)
            case Failure(code=code, message=message, request=None, channel="") if code in _REFUSALS:
                self._tokens.refused(message)
            case _:
                await self._listener.take(event, frame_characters)

    def lost(self, why: str) -> None:
        """The connection is gone; if its token had expired, the next one fetches another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if connection.close_code == EXPIRED_CODE:
                self._tokens.discard()
            self._tokens.ended(connection)
        self._listener.lost(why)

    def ended(self, error: Exception) -> None:
        """There is no other connection."""
        self._listener.ended(error)

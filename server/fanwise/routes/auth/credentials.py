"""Credentials: what a request or a connection has brought, as a rule that rights ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any, Final, Protocol

from ...core.codes import CodedError, ErrorCode
from ...core.rights import HISTORY, LISTENING, OPERATE, PRESENCE, PUBLISH, SUBSCRIBE, Action, Authorise, Rights, User
from ...core.roles import Role
from ...transport.handshakes import Asked
from ...transport.limits import budget_of
from ...transport.places import place_of
from .grants import Grant
from .keys import offer_of

JWT_SUBPROTOCOL: Final = "fanwise.token."  # and the token: browsers cannot set headers of a WebSocket handshake
TOKEN_OPERATIONS: Final = 10  # as many as a token counts at the rate of subscriptions: 100 a second by default
MISSING: Final = "this asks for a key or a token: Authorization: Bearer, or a subprotocol that names it"
_ROLES: Final = {
    SUBSCRIBE: Role.READ,
    HISTORY: Role.READ,
    PRESENCE: Role.READ,
    PUBLISH: Role.PUBLISH,
    OPERATE: Role.OPERATE,
}


class Read(StrEnum):
    """What listening asks for."""

    OPEN = "open"
    KEY = "key"
    TOKEN = "token"  # noqa: S105 - the name of a setting; a key will do as well


class TokenReader(Protocol):
    """Reads tokens."""

    @property
    def keys(self) -> AbstractAsyncContextManager[Any]:
        """The keys that tokens are signed with, kept new while the context lasts."""

    async def admit(self, token: str, verifier: Callable[[int], float]) -> Grant:
        """Returns what a token gives; raises CodedError if it is not valid."""


class Credentials:
    """The roles of a key, and what a token gives. Owns the rule that each action needs one of the two.

    Args:
        read: What listening asks for.
        roles: Those of the key.
        grant: What the token gives; None: there is none.

    Attributes:
        grant: What the latest token gives.
    """

    __slots__ = ("_read", "_roles", "grant")

    def __init__(self, read: Read, roles: frozenset[Role], grant: Grant | None = None) -> None:
        self._read = read
        self._roles = roles
        self.grant = grant

    @property
    def is_nobody(self) -> bool:
        """Whether neither a key nor a token has come."""
        return not self._roles and self.grant is None

    @property
    def is_due(self) -> bool:
        """Whether the connection has to bring a token yet."""
        return self._read is Read.TOKEN and self.is_nobody

    def check(self) -> None:
        """Raises CodedError if neither a key nor a token has come."""
        if self.is_nobody:
            raise CodedError(ErrorCode.UNAUTHORISED, MISSING)

    def allow(self, _user: User | None, action: Action, channel: str) -> bool:
        """Returns whether an action is allowed (`core.rights.Authorise`). Raises what `check` raises."""
        listens = action in LISTENING
        if (listens and self._read is Read.OPEN) or _ROLES[action] in self._roles:
            return True
        self.check()
        if self.grant is None or (listens and self._read is Read.KEY):
            return False
        return not self.grant.has_expired and self.grant.allows(action, channel)

    def allow_list(self, user: User | None, action: Action, channel: str) -> bool:
        """Returns whether the names of all channels may be seen: by readers with a key, and by operators."""
        return self._read is Read.OPEN or Role.READ in self._roles or self.allow(user, action, channel)


class TokenRights(Rights):
    """The rights of a connection whose token may be followed by others. Owns the invariant that its user stays.

    Args:
        tokens: Reads tokens.
        verifier: Counts them, as `TokenReader.admit` takes it.
        credentials: What the connection has brought.
        rules: Those of `Rights`, the credentials' among them.
    """

    __slots__ = ("_credentials", "_tokens", "_verifier")

    def __init__(
        self,
        tokens: TokenReader,
        verifier: Callable[[int], float],
        credentials: Credentials,
        rules: Iterable[Authorise],
    ) -> None:
        super().__init__(None if credentials.grant is None else credentials.grant.user, rules)
        self._tokens = tokens
        self._verifier = verifier
        self._credentials = credentials

    @property
    def is_due(self) -> bool:
        """Whether the connection has to bring a token yet, in its first message."""
        return self._credentials.is_due

    @property
    def operates(self) -> bool:
        """Whether the token is an operator's."""
        return self._credentials.grant is not None and self._credentials.grant.operate

    def token_allows(self, action: Action, channel: str) -> bool:
        """Returns whether key and token allow an action; the application is not asked."""
        return self._credentials.allow(self.user, action, channel)

    def and_also(self, rule: Authorise) -> TokenRights:
        """Returns rights with another rule, which is asked behind all others; the token's are these and no others."""
        more = TokenRights(self._tokens, self._verifier, self._credentials, (*self._rules, rule))
        more.user = self.user
        return more

    async def authenticate(self, token: str) -> User:
        """Puts the rights of a token in place of those before; returns its user.

        Raises:
            CodedError: The token is not valid, or another user's; what was in force stays.
        """
        grant = await self._tokens.admit(token, self._verifier)
        if self.user is not None and self.user.id != grant.user.id:
            raise CodedError(ErrorCode.FORBIDDEN, "the token is of another user than the connection: open another one")
        self._credentials.grant = grant
        self.user = grant.user
        return grant.user


def offered_token(connection: Asked) -> str | None:
    """Returns the token in a handshake's subprotocols; None if there is none."""
    return offer_of(connection, JWT_SUBPROTOCOL)


def verifier_of(connection: Asked) -> Callable[[int], float]:
    """Returns what counts tokens of a request: as one at its connection, and by their number at its address."""
    budget, place = budget_of(connection.scope), place_of(connection.scope)

    def count(tokens: int) -> float:
        operations = TOKEN_OPERATIONS if tokens else 0
        return max(budget.subscribe(operations), 0.0 if place is None else place.verify(tokens))

    return count

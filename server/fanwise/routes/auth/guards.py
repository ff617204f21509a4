"""Guards of routes and handshakes: `Access` checks keys, tokens, host and origin of a request; routes depend on it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from inspect import isawaitable
from typing import Any, Final, TypeAlias

from fastapi import Request, params
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import HTTPConnection

from ...core.codes import CodedError, ErrorCode
from ...core.rights import Authorise, Rights, User, as_user
from ...core.roles import NO_ROLES, Role
from ...errors import shorten
from ...transport.handshakes import Asked
from ...transport.proxies import is_passed_on
from .credentials import MISSING, Credentials, Read, TokenReader, TokenRights, offered_token, verifier_of
from .hosts import Hosts
from .keys import ApiKeys, bearer_of, key_beside
from .origins import Origins

# Codes that a route with a guard may answer.
REFUSED: Final = (ErrorCode.BAD_HOST, ErrorCode.BAD_ORIGIN)
REFUSED_WITH_KEY: Final = (*REFUSED, ErrorCode.FORBIDDEN, ErrorCode.TOKENS_TOO_FAST, ErrorCode.UNAUTHORISED)
KEY_REFUSED: Final = "this asks for the server's key: Authorization: Bearer KEY, or X-API-Key: KEY"
PASSED_ON: Final = (
    "a proxy has passed this on, and the server has no key for strangers: set FANWISE_API_KEY, or say --open"
)
_ENDS_AT: Final = "fanwise.ends_at"  # in the scope of a request
_READER: Final = frozenset({Role.READ})
# For OpenAPI only: `ApiKeys` looks for the key.
_KEY_SCHEMES: Final = (HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False))

Identify: TypeAlias = Callable[[HTTPConnection], "User | str | Awaitable[User | str | None] | None"]
"""Returns the user of a request or of a handshake; None: unknown."""


class Access:
    """Who may read, publish and operate, which hosts requests may name, and which pages may connect.

    Args:
        api_key: The key that publishing and operating ask for, or several with roles, as `core.roles.read_keys` takes
            them; None: no key.
        allowed_origins: Origins of pages, beside those of the server's own host, that may connect; "*" allows all.
        allowed_hosts: Hosts that requests may name, as `Hosts` takes them; "*" allows all.
        identify: Called for each request that listens, publishes or reads history; None: all users are unknown.
        authorise: Asked whether a user may listen to, publish to or read the history of a channel, and operate the
            server; None: all may.
        read: What listening, and all that can be read, asks for: "open", "key" or "token".
        tokens: Reads tokens, which then name what their users may do; None: there are none.
        passed_on: Whether everybody may publish and operate through a proxy where there is neither key nor token.

    Attributes:
        asks: Whether requests have users or rights that may have to be waited for.

    Raises:
        ValueError: A key or a role cannot be used, or `read` asks for what there is none of.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        allowed_origins: Collection[str] = (),
        allowed_hosts: Collection[str] = ("*",),
        identify: Identify | None = None,
        authorise: Authorise | None = None,
        read: str = Read.OPEN,
        tokens: TokenReader | None = None,
        passed_on: bool = True,
    ) -> None:
        self.keys = ApiKeys(api_key)
        self._heeds_proxies = not (self.keys or passed_on)
        self.read = Read(read)
        self.tokens = tokens
        self._origins = Origins(allowed_origins)
        self._hosts = Hosts(allowed_hosts)
        self._identify = identify
        self.authorise = authorise
        self.asks = not (identify is None and authorise is None and tokens is None)
        if self.read is Read.KEY and not self.keys:
            raise ValueError("to read with a key there has to be a key")
        if self.read is Read.TOKEN and tokens is None:
            raise ValueError("to read with a token there have to be keys of tokens")

    @property
    def keys_of_tokens(self) -> AbstractAsyncContextManager[Any]:
        """The keys that tokens are signed with, kept new while the context lasts."""
        return nullcontext() if self.tokens is None else self.tokens.keys

    async def rights(self, connection: HTTPConnection, *, lists: bool = False) -> Rights | None:
        """Returns what the user of a request may do; None: all users are unknown, and may do everything.

        Args:
            connection: The request, or the handshake.
            lists: Whether to operate means no more than to see the names of all channels.

        Raises:
            CodedError: A key or a token is wrong. All else is raised by the application's own functions.
        """
        found: Rights | None = None
        if self.tokens is not None:
            found = await self._token_rights(self.tokens, connection, lists=lists)
        elif self.read is not Read.OPEN:
            credentials = Credentials(self.read, self.roles(connection))
            credentials.check()
            found = Rights(None, [_rule(credentials, lists=lists), *self._own_rules])
        elif self.asks:
            found = Rights(None, self._own_rules)
        if found is not None and self._identify is not None:
            user = self._identify(connection)
            found.user = found.user or as_user(await user if isawaitable(user) else user)
        return found

    async def _token_rights(self, tokens: TokenReader, connection: HTTPConnection, *, lists: bool) -> TokenRights:
        verifier = verifier_of(connection)
        roles, token = self._roles_and_token(connection)
        credentials = Credentials(self.read, roles)
        if token is not None:
            credentials.grant = await tokens.admit(token, verifier)
        return TokenRights(tokens, verifier, credentials, [_rule(credentials, lists=lists), *self._own_rules])

    def _roles_and_token(self, connection: Asked) -> tuple[frozenset[Role], str | None]:
        """Returns the roles of the keys of a request, and its token. What is no key in `Authorization` is a token."""
        bearer, beside = bearer_of(connection), key_beside(connection)
        roles = NO_ROLES if bearer is None else self.keys.roles_of(bearer.encode())
        token = offered_token(connection) if bearer is None or roles else bearer
        if beside is not None:
            more = self.keys.roles_of(beside)
            if not more:
                raise CodedError(ErrorCode.UNAUTHORISED, KEY_REFUSED)
            roles |= more
        return roles, token

    @property
    def _own_rules(self) -> list[Authorise]:
        return [] if self.authorise is None else [self.authorise]

    def check_site(self, connection: Asked) -> None:
        """Raises CodedError if the request, or the handshake, names another host, or comes from a page of one."""
        if not self._hosts.allow(connection):
            host = shorten(connection.headers.get("host", ""))
            raise CodedError(
                ErrorCode.BAD_HOST, f"this server does not answer for host {host}: FANWISE_ALLOWED_HOSTS says for which"
            )
        if not self._origins.allow(connection):
            origin = shorten(connection.headers["origin"])
            host = shorten(connection.headers.get("host", ""))
            asked = f"host {host}, asked over {connection.scope.get('scheme', 'http')}"
            raise CodedError(
                ErrorCode.BAD_ORIGIN,
                f"pages of origin {origin} may not connect to {asked}: allowed_origins (FANWISE_ALLOWED_ORIGINS) says "
                "which may",
            )

    def is_operator(self, connection: Asked, rights: Rights | None = None) -> bool:
        """Returns whether the request brings a key or a token of operators; False where there is none."""
        if isinstance(rights, TokenRights) and rights.operates:
            return True
        return bool(self.keys and Role.OPERATE in (self.keys.roles(connection) or ()))

    def roles(self, connection: Asked) -> frozenset[Role]:
        """Returns the roles of the key of a request; none without a key. Raises CodedError for a wrong key."""
        found = self.keys.roles(connection)
        if found is not None and not found:
            raise CodedError(ErrorCode.UNAUTHORISED, KEY_REFUSED)
        if self._heeds_proxies and is_passed_on(connection.headers):
            return _READER
        return found or NO_ROLES

    def check_key(self, connection: Asked, role: Role) -> None:
        """Raises CodedError unless the request brings a key with a role, if there are keys.

        Where there are tokens, rights ask for the role or the token, and a request is refused here that brings neither.
        """
        if self.tokens is None:
            roles = self.roles(connection)
            if not roles:
                raise CodedError(ErrorCode.UNAUTHORISED, KEY_REFUSED)
            if role not in roles:
                problem = f"this key has not the role {role}" if self.keys else PASSED_ON
                raise CodedError(ErrorCode.FORBIDDEN, problem)
        elif all(find(connection) is None for find in (bearer_of, key_beside, offered_token)):
            raise CodedError(ErrorCode.UNAUTHORISED, MISSING)

    async def check_operator(self, connection: HTTPConnection) -> Rights | None:
        """Raises CodedError unless the request may operate the server; returns the rights of its user, if any."""
        self.check_key(connection, Role.OPERATE)
        rights = await self.rights(connection) if self.asks else None
        if rights is not None:
            await rights.check_operator()
        return rights

    async def check_lists(self, connection: HTTPConnection) -> Rights | None:
        """Raises CodedError unless the request may see the names of all channels; returns the rights of its user."""
        rights = await self.rights(connection, lists=True)
        if rights is not None:
            await rights.check_operator()
        return rights

    async def check_known(self, connection: HTTPConnection) -> None:
        """Raises CodedError unless the request brings a key or a token, where reading asks for one."""
        if self.read is Read.OPEN:
            return
        if self.tokens is None:
            Credentials(self.read, self.roles(connection)).check()
            return
        self.check_key(connection, Role.READ)
        await self._token_rights(self.tokens, connection, lists=False)


def _rule(credentials: Credentials, *, lists: bool) -> Authorise:
    return credentials.allow_list if lists else credentials.allow


def note_end(connection: HTTPConnection, rights: Rights | None) -> None:
    """Notes at a request when its user's time ends, for answers that take long."""
    if rights is not None and rights.user is not None and rights.user.expires_at is not None:
        connection.scope[_ENDS_AT] = rights.user.expires_at


def ends_at(scope: Mapping[str, Any]) -> float:
    """Returns when the time of a request's user ends, in seconds since 1970; infinite: never."""
    found: float = scope.get(_ENDS_AT, math.inf)
    return found


def site_guard(access: Access) -> params.Depends:
    """Returns a dependency that refuses requests for other hosts, and pages of other hosts."""

    async def check(request: Request) -> None:
        access.check_site(request)

    return params.Depends(check)


def publisher_guards(access: Access) -> list[params.Depends]:
    """Returns dependencies that refuse other hosts, pages of other hosts, and requests without a key of publishers.

    The endpoint asks for the rights.
    """

    async def check(request: Request) -> None:
        access.check_key(request, Role.PUBLISH)

    return [site_guard(access), params.Depends(check), *_schemes()]


def operator_guards(access: Access) -> list[params.Depends]:
    """Returns dependencies that refuse other hosts, pages of other hosts, and requests that are no operator's."""

    async def check(request: Request) -> None:
        note_end(request, await access.check_operator(request))

    return [site_guard(access), params.Depends(check), *_schemes()]


def list_guards(access: Access) -> list[params.Depends]:
    """Returns dependencies that refuse other hosts, and requests that may not see the names of all channels."""

    async def check(request: Request) -> None:
        note_end(request, await access.check_lists(request))

    return [site_guard(access), params.Depends(check)]


def known_guards(access: Access) -> list[params.Depends]:
    """Returns dependencies of what describes the server: none where reading is open."""
    if access.read is Read.OPEN:
        return []

    async def check(request: Request) -> None:
        await access.check_known(request)

    return [site_guard(access), params.Depends(check)]


def _schemes() -> list[params.Depends]:
    return [params.Security(scheme) for scheme in _KEY_SCHEMES]

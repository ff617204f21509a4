"""Guards of routes and handshakes: `Access` checks a request's key, host and origin; routes depend on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from inspect import isawaitable
from typing import Final, TypeAlias

from fastapi import Request, params
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import HTTPConnection

from ...core.codes import CodedError, ErrorCode
from ...core.rights import Authorise, Rights, User
from ...errors import shorten
from ...transport.handshakes import Asked
from .hosts import Hosts
from .keys import ApiKey
from .origins import Origins

# Codes that a route with a guard may answer.
REFUSED: Final = (ErrorCode.BAD_HOST, ErrorCode.BAD_ORIGIN)
REFUSED_WITH_KEY: Final = (*REFUSED, ErrorCode.UNAUTHORISED)
KEY_REFUSED: Final = "this asks for the server's key: Authorization: Bearer KEY, or X-API-Key: KEY"
# For OpenAPI only: `ApiKey` looks for the key.
_KEY_SCHEMES: Final = (HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False))

Identify: TypeAlias = Callable[[HTTPConnection], "User | str | Awaitable[User | str | None] | None"]
"""Returns the user of a request or of a handshake; None: unknown."""


class Access:
    """Who may publish and operate, which hosts requests may name, and which pages may connect.

    Args:
        api_key: The key that publishing and operating ask for; None: no key.
        allowed_origins: Origins of pages, beside those of the server's own host, that may connect; "*" allows all.
        allowed_hosts: Hosts that requests may name, as `Hosts` takes them; "*" allows all.
        identify: Called for each request that listens, publishes or reads history; None: all users are unknown.
        authorise: Asked whether a user may listen to, publish to or read the history of a channel; None: all may.

    Attributes:
        asks: Whether requests have users or rights.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        allowed_origins: Collection[str] = (),
        allowed_hosts: Collection[str] = ("*",),
        identify: Identify | None = None,
        authorise: Authorise | None = None,
    ) -> None:
        self.key = ApiKey(api_key)
        self._origins = Origins(allowed_origins)
        self._hosts = Hosts(allowed_hosts)
        self._identify = identify
        self.authorise = authorise
        self.asks = identify is not None or authorise is not None

    async def rights(self, connection: HTTPConnection) -> Rights | None:
        """Returns what the user of a request may do; None: all users are unknown, and may do everything.

        Raises what the application's own functions raise.
        """
        if not self.asks:
            return None
        user = None if self._identify is None else self._identify(connection)
        return Rights.of(await user if isawaitable(user) else user, authorise=self.authorise)

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

    def is_operator(self, connection: Asked) -> bool:
        """Returns whether the request brings a key; False where there is none."""
        return bool(self.key and self.key.is_held_by(connection))

    def check_key(self, connection: Asked) -> None:
        """Raises CodedError unless the request brings the key, if there is one."""
        if not self.key.is_held_by(connection):
            raise CodedError(ErrorCode.UNAUTHORISED, KEY_REFUSED)


def site_guard(access: Access) -> params.Depends:
    """Returns a dependency that refuses requests for other hosts, and pages of other hosts."""

    async def check(request: Request) -> None:
        access.check_site(request)

    return params.Depends(check)


def key_guards(access: Access) -> list[params.Depends]:
    """Returns dependencies that refuse requests for other hosts, pages of other hosts, and requests without the key."""

    async def check(request: Request) -> None:
        access.check_key(request)

    schemes = [params.Security(scheme) for scheme in _KEY_SCHEMES]
    return [site_guard(access), params.Depends(check), *schemes]

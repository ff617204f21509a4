"""Guards of routes and handshakes: what a request has to bring along."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from fastapi import Request, params
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import HTTPConnection

from ...core.codes import CodedError, ErrorCode
from .keys import ApiKey
from .origins import Origins

# Codes that a route with a guard may answer.
REFUSED: Final = (ErrorCode.BAD_ORIGIN,)
REFUSED_WITH_KEY: Final = (*REFUSED, ErrorCode.UNAUTHORISED)
ORIGIN_REFUSED: Final = "pages of this origin may not connect: the server's FANWISE_ALLOWED_ORIGINS says which may"
KEY_REFUSED: Final = "this asks for the server's key: Authorization: Bearer KEY, or X-API-Key: KEY"
# For OpenAPI only: `ApiKey` looks for the key.
_KEY_SCHEMES: Final = (HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False))


class Access:
    """Who may publish and operate, and which pages may connect.

    Args:
        api_key: The key that publishing and operating ask for; None: no key.
        allowed_origins: Origins of pages, beside those of the server's own host, that may connect; "*" allows all.
    """

    def __init__(self, *, api_key: str | None = None, allowed_origins: Collection[str] = ()) -> None:
        self.key = ApiKey(api_key)
        self._origins = Origins(allowed_origins)

    def check_origin(self, connection: HTTPConnection) -> None:
        """Raises CodedError if the page that sends the request, or the handshake, may not connect."""
        if not self._origins.allow(connection):
            raise CodedError(ErrorCode.BAD_ORIGIN, ORIGIN_REFUSED)

    def check_key(self, connection: HTTPConnection) -> None:
        """Raises CodedError unless the request brings the key, if there is one."""
        if not self.key.is_held_by(connection):
            raise CodedError(ErrorCode.UNAUTHORISED, KEY_REFUSED)


def origin_guard(access: Access) -> params.Depends:
    """Returns a dependency that refuses pages of other hosts."""

    def check(request: Request) -> None:
        access.check_origin(request)

    return params.Depends(check)


def key_guards(access: Access) -> list[params.Depends]:
    """Returns dependencies that refuse pages of other hosts, and requests without the key."""

    def check(request: Request) -> None:
        access.check_key(request)

    schemes = [params.Security(scheme) for scheme in _KEY_SCHEMES]
    return [origin_guard(access), params.Depends(check), *schemes]

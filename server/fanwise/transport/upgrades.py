"""What is wrong with a handshake before any WebSocket library looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..core.codes import ErrorCode
from .refusals import RefusedError

# Of the target, and of each field. The WebSocket library's own limit is 8,192 with what is around them, and it closes
# nothing.
UPGRADE_LINE_BYTES: Final = 8_000


def upgrade_problem(
    http_version: str, url: bytes, headers: Sequence[tuple[bytes, bytes]], *, short: bool = False
) -> RefusedError | None:
    """Returns the refusal of an upgrade to WebSocket; None if there is none.

    Args:
        http_version: Of the request.
        url: Its target.
        headers: Its fields, with names in lower case.
        short: Whether the connection has a descriptor of the reserve, which is for requests: these end.
    """
    if short:
        return RefusedError(ErrorCode.FULL, "the descriptors of the server are in use: come back later")
    if http_version != "1.1":  # RFC 6455 section 4.1
        return RefusedError(ErrorCode.BAD_REQUEST, "an upgrade to WebSocket takes HTTP/1.1")
    if any(name == b"transfer-encoding" or (name == b"content-length" and int(value)) for name, value in headers):
        return RefusedError(ErrorCode.BAD_REQUEST, "an upgrade to WebSocket has no body")
    if [value for name, value in headers if name == b"sec-websocket-version"] not in ([], [b"13"]):
        answer = b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"  # RFC 6455 section 4.4
        return RefusedError(ErrorCode.WRONG_VERSION, "the version of WebSocket is 13", headers=answer)
    longest = max([len(url), *(len(name) + len(value) for name, value in headers)])
    if longest > UPGRADE_LINE_BYTES:
        problem = f"a line of an upgrade has more than the {UPGRADE_LINE_BYTES} bytes allowed"
        return RefusedError(ErrorCode.HEAD_TOO_LARGE, problem)
    return None

"""Bodies of requests: read within a bound, and taken for what their content type says."""

from __future__ import annotations

from typing import Final

import orjson
from starlette.requests import ClientDisconnect, Request

from ..core.codes import CodedError, ErrorCode
from ..core.publication import Kind
from ..errors import MessageTooBigError
from .json_size import check_structure

_SURELY_WRITTEN: Final = 200  # brackets and braces: nested no deeper than orjson writes (254)


async def read_body(request: Request, *, limit_bytes: int) -> bytes:
    """Returns the body of a request. The rest of a body that is above the limit is not read.

    Raises:
        CodedError: The connection ended before the whole body had come.
        MessageTooBigError: The body is larger than `limit_bytes`, or its Content-Length says so.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit_bytes:
        raise MessageTooBigError(size_bytes=int(announced), limit_bytes=limit_bytes)
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            if part:
                parts.append(part)
                size += len(part)
            if size > limit_bytes:
                raise MessageTooBigError(size_bytes=size, limit_bytes=limit_bytes)
    except ClientDisconnect as error:
        text = f"the connection ended behind {size} bytes of a body that goes on"
        raise CodedError(ErrorCode.INCOMPLETE_BODY, text) from error
    return b"".join(parts)  # no copy of a body that came in one part


def body_data(body: bytes, content_type: str) -> tuple[Kind, bytes]:
    """Returns the payload in a body: JSON is JSON (a JSON string is text), text is text, all other types are binary.

    Raises:
        CodedError: The body is not of the type that Content-Type says, or has too many arrays and objects.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == "application/json" or kind.endswith("+json"):
            check_structure(body)
            value = orjson.loads(body)
            if isinstance(value, str):
                return Kind.TEXT, value.encode()
            if body.count(b"[") + body.count(b"{") > _SURELY_WRITTEN:
                orjson.dumps(value)  # raises if it is nested deeper than orjson writes
            return Kind.JSON, body  # as it came
        if kind in ("", "application/x-www-form-urlencoded") or kind.startswith("text/"):
            body.decode()
            return Kind.TEXT, body
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise CodedError(ErrorCode.BAD_JSON, f"the body is not JSON that can be used: {error}") from error
    except UnicodeDecodeError as error:
        text = f"the body is not UTF-8, as text has to be; send binary as application/octet-stream: {error}"
        raise CodedError(ErrorCode.BAD_TEXT, text) from error
    return Kind.BINARY, body

"""Refusals by the protocol classes, before any application is asked: answered, counted and logged in one place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Self

from ..core.codes import CodedError, ErrorCode
from ..logs.events import Event, log

_PROBLEM_CHARACTERS: Final = 200
_PATH_BYTES: Final = 200


class RefusedError(Exception):
    """A request that is not taken in.

    Args:
        code: From the table; its status and headers are the answer's.
        problem: A sentence that names what is wrong, and what is allowed.
        headers: Further lines of the answer's head, each with its end.
        counted: Whether the refusal is counted and logged already.
    """

    def __init__(self, code: ErrorCode, problem: str, *, headers: bytes = b"", counted: bool = False) -> None:
        super().__init__(code, problem)
        self.code = code
        self.problem = problem
        self.headers = headers
        self.counted = counted

    def __str__(self) -> str:
        return self.problem

    @classmethod
    def of(cls, error: CodedError) -> Self:
        """Returns the refusal for `error`, which is counted and logged already."""
        return cls(error.code, error.problem, counted=True)

    @property
    def answer(self) -> bytes:
        """The whole HTTP answer: `{"error": {"code", "message"}}`. The connection closes behind it."""
        status = HTTPStatus(self.code.status or HTTPStatus.BAD_REQUEST)
        body = json.dumps({"error": {"code": self.code.value, "message": self.problem[:_PROBLEM_CHARACTERS]}}).encode()
        named = {"content-type": "application/json", "content-length": len(body)}
        named |= {name.lower(): value for name, value in self.code.headers.items()} | {"connection": "close"}
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in named.items())]
        return "\r\n".join(lines).encode() + b"\r\n" + self.headers + b"\r\n" + body


def refuse(
    transport: asyncio.Transport,
    refusal: RefusedError,
    *,
    count: Callable[[ErrorCode], None],
    client: tuple[str, int] | None,
    url: bytes = b"",
    answer: bool = True,
) -> None:
    """Answers a request, closes the connection, counts the refusal under its code and logs one line.

    Args:
        transport: The connection's.
        refusal: Its code and its problem.
        count: The counter of refusals.
        client: The peer's address.
        url: Of the request, as far as it is known. The log gets its path only.
        answer: False where the request has an answer already: a second one would be taken for the next request's.
    """
    if answer:
        transport.write(refusal.answer)
    transport.close()
    if refusal.counted:
        return
    count(refusal.code)
    host, port = client or ("", 0)
    path = url.partition(b"?")[0][:_PATH_BYTES].decode("ascii", "replace") or "a request"
    if refusal.code is ErrorCode.FULL:  # for an operator to see to
        log(Event.NO_ROOM, path=path, address=f"{host}:{port}", reason=refusal.code.value)
    else:
        log(Event.REFUSED, path=path, address=f"{host}:{port}", reason=refusal.problem)


def uncounted(_code: ErrorCode) -> None:
    """Takes the place of a counter of refusals."""


def always_room(_url: bytes) -> RefusedError | None:
    """Takes the place of a check for room."""
    return None

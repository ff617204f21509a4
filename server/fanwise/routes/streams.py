"""Long answers: sent piece by piece at the peer's pace, so that an unread answer is never in memory as a whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..broadcaster.node import Node
from ..core.codes import CodedError, ErrorCode
from .auth.guards import ends_at
from .problems import error_response, note_refusal

PIECE_BYTES: Final = 16_384
# Memory of an answer that is being sent: a piece, and what waits in the buffers of the server.
_ANSWER_BYTES: Final = 131_072
_SHARE: Final = 4  # of `memory_bytes`, for all long answers together
_UNLIMITED: Final = 4096


class LongAnswers:
    """Owns the invariant that long answers in the making take at most a quarter of `memory_bytes`, and count there.

    Args:
        broadcaster: The node that has `memory_bytes`, and counts refusals.

    Attributes:
        most: Answers that may be sent at a time.
        sending: Answers that are being sent.
        making: Held while a part is made: all long answers together hold the loop for one turn at a time.
    """

    def __init__(self, broadcaster: Node) -> None:
        memory_bytes = broadcaster.inspect.limits()["memory_bytes"]
        self.most = max(1, memory_bytes // _SHARE // _ANSWER_BYTES) if isinstance(memory_bytes, int) else _UNLIMITED
        self.sending = 0
        self.making = asyncio.Lock()
        self.reject: Callable[[ErrorCode], None] = broadcaster.tally.reject
        self._broadcaster = broadcaster

    def json(self, parts: AsyncGenerator[bytes, None]) -> Response:
        """Returns a JSON answer whose body is made of `parts` while it is sent.

        The iterator holds the loop for 1 ms at a time, and keeps little between two parts.
        """
        return _LongAnswer(self, parts)

    def count(self, answers: int) -> None:
        """Counts answers that are being sent; negative ones have ended."""
        self.sending += answers
        self._broadcaster.count_answer_bytes(answers * _ANSWER_BYTES)


class _LongAnswer(Response):
    def __init__(self, answers: LongAnswers, parts: AsyncGenerator[bytes, None]) -> None:
        super().__init__(media_type="application/json")
        del self.headers["content-length"]
        self._answers = answers
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer; or a refusal, if too many others are being sent."""
        if self._answers.sending >= self._answers.most:
            error = CodedError(ErrorCode.FULL, f"all {self._answers.most} places for long answers are taken")
            code = note_refusal(HTTPConnection(scope), error, self._answers.reject)
            await error_response(code, str(error))(scope, receive, send)
            return
        self._answers.count(1)
        try:
            await self._send_parts(send, ends_at(scope))
        finally:
            self._answers.count(-1)

    async def _send_parts(self, send: Send, end: float) -> None:
        """Sends the parts, up to the end of the user's time: what is incomplete then is no JSON."""
        begun, piece = False, bytearray()
        async with aclosing(self._parts) as parts:
            while True:
                async with self._answers.making:
                    part = await anext(parts, None)
                if part is None or time.time() >= end:
                    break
                piece += part
                if len(piece) >= PIECE_BYTES:
                    if not begun:
                        await send(self._start())
                    begun = True
                    await send({"type": "http.response.body", "body": bytes(piece), "more_body": True})
                    piece.clear()
        if not begun:
            self.headers["content-length"] = str(len(piece))
            await send(self._start())
        await send({"type": "http.response.body", "body": bytes(piece), "more_body": False})

    def _start(self) -> dict[str, object]:
        return {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}

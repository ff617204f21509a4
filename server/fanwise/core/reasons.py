"""The closed tables of reasons: why a connection ended and what its client may do about it, and why a gap is there.

The codes follow RFC 6455 section 7.4: 1000-2999 belong to the protocol, 4000-4999 to the application. Of ours,
4000-4499 ask the client to reconnect with backoff and 4500-4999 ask it not to.
"""

from __future__ import annotations

from enum import Enum


class CloseReason(Enum):
    """Why a connection ended: (code, text of at most 123 bytes, may the client reconnect)."""

    NORMAL = (1000, "closed", False)
    PROTOCOL_ERROR = (1002, "protocol error", False)
    LOST = (1006, "the connection was lost", True)
    BAD_TEXT = (1007, "bad text: it is not UTF-8", False)
    RATE = (1008, "rate: too many control frames or fragments", False)
    TOO_BIG = (1009, "message too big", False)
    INTERNAL = (1011, "internal error", True)
    SHUTDOWN = (1012, "restart", True)
    FULL = (1013, "the server is full", True)
    SLOW = (4008, "slow: the queue overflowed", True)
    STALLED = (4009, "stalled: no progress", True)
    MEMORY = (4010, "memory: the server is short of it", True)
    BACKPLANE = (4011, "backplane: a message was not published", True)
    NO_PONG = (4012, "no pong", True)
    EXPIRED = (4013, "expired", True)
    REFUSED = (4500, "refused", False)
    UNAUTHORISED = (4501, "unauthorised: this asks for a key or a token", False)
    FORBIDDEN = (4502, "forbidden: this user has no right to do that", False)
    OPERATOR = (4503, "closed by an operator", False)

    def __init__(self, code: int, text: str, reconnect: bool) -> None:
        self.code = code
        self.text = text
        self.reconnect = reconnect


_FAILURES = {reason.code: reason for reason in (CloseReason.PROTOCOL_ERROR, CloseReason.BAD_TEXT, CloseReason.TOO_BIG)}


def failure(code: int | None) -> CloseReason:
    """Returns the reason of a WebSocket that fails with `code` (RFC 6455 section 7.4.1); LOST for other codes."""
    return _FAILURES.get(code or 0, CloseReason.LOST)


class GapReason(Enum):
    """Why publications are missing."""

    HISTORY = "history"  # the log does not reach back so far
    EPOCH = "epoch"  # the log that the client's position belonged to is gone
    SLOW = "slow"  # the client was further behind than its queue is wide
    BACKPLANE = "backplane"  # the engine behind several servers has them no more

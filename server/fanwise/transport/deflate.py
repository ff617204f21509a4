"""permessage-deflate on a connection (RFC 7692): what is agreed on, and what compressed messages of peers may cost.

Neither side takes a context over, so a connection keeps no memory for it between two messages.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from websockets.exceptions import NegotiationError
from websockets.extensions import Extension, ServerExtensionFactory
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension
from websockets.typing import ExtensionName, ExtensionParameter

from ..core.deflate import TAIL
from ..core.publication import Kind
from ..core.reasons import CloseReason
from .fair_share import FRAME_BYTES
from .frames import payload_of, utf_8_tail
from .incoming import Incoming, Receiving
from .limits import Limits

_NAME: Final = ExtensionName("permessage-deflate")
_WINDOW_BITS: Final = 15  # of the one frame for all clients: a peer that takes less gets none
_OFFER_BYTES: Final = 256  # honest offers are shorter; longer ones are parsed each time
# Bytes of the budget that an inflated byte takes: inflating costs as much as receiving eight.
INFLATED_WEIGHT: Final = 8
INFLATED_A_TURN: Final = 65_536  # bytes of one connection, and a message; the rest waits for its next turn
_FINAL, _COMPRESSED = 0x80, 0x40
_TEXT, _BINARY = 1, 2  # opcodes of the first frame of a message
_KINDS: Final = {_TEXT: Kind.TEXT, _BINARY: Kind.BINARY}


class Agreed(Extension):
    """What a handshake has agreed on: one object for all connections."""

    name = _NAME


class Negotiation(ServerExtensionFactory):
    """Agrees to an offer of permessage-deflate; the answer keeps both sides from taking a context over."""

    name = _NAME
    _library = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], Extension]:
        """Returns the parameters of the answer, and `AGREED`.

        Raises:
            NegotiationError: The offer is wrong, or asks for a smaller window than the frames for all have.
        """
        answer, found = self._library.process_request_params(params, accepted_extensions)
        if found.local_max_window_bits != _WINDOW_BITS:
            raise NegotiationError("no smaller window")
        return answer, AGREED


AGREED: Final = Agreed()
NEGOTIATION: Final = Negotiation()


def answer_to(offers: str) -> str | None:
    """Returns the value of Sec-WebSocket-Extensions that answers `offers`; None: no offer is taken.

    Raises:
        InvalidHeader: The offers cannot be read (`websockets.exceptions`).
    """
    return _answer_to(offers) if len(offers) <= _OFFER_BYTES else _answer_to.__wrapped__(offers)


@lru_cache(maxsize=64)
def _answer_to(offers: str) -> str | None:
    for name, params in parse_extension(offers):
        if name == _NAME:
            try:
                answer, _ = NEGOTIATION.process_request_params(params, ())
            except NegotiationError:
                continue
            return build_extension([(name, answer)])
    return None


def inflate(data: bytes, *, max_bytes: int) -> bytes | None:
    """Returns a message as it was before its compression; None if it has more than `max_bytes`.

    Memory and time are bounded by `max_bytes`, whatever `data` says.

    Raises:
        zlib.error: The data are not compressed (RFC 1951).
    """
    message = zlib.decompressobj(-_WINDOW_BITS).decompress(data + TAIL, max_bytes + 1)
    return None if len(message) > max_bytes else message


class InflatingIncoming(Incoming):
    """What comes in on a connection with permessage-deflate. Owns the invariants of what inflating may cost.

    The fragments of a compressed message are kept as they came, and inflated at its end. So an unfinished message takes
    what it has sent, and no window.
    """

    __slots__ = ("_deflated", "_inflated_bytes")

    def __init__(
        self, connection: Receiving, loop: asyncio.AbstractEventLoop, limits: Limits, *, max_bytes: int
    ) -> None:
        super().__init__(connection, loop, limits, max_bytes=max_bytes)
        self._deflated = 0  # the opcode of the compressed message whose fragments come
        self._inflated_bytes = 0  # since this connection has last given its turn back

    def feed(self, data: bytes = b"") -> None:
        """Takes in what has come; in the connection's turn where others have used this one up."""
        if data and not self._deaf and not self._pacer.share.take(0):
            self._cutter.rest += data
            self._cutter.more = True
            self.budget.bytes -= len(data)
            self._pace(0)
        else:
            super().feed(data)

    def _take_other(self, frame: bytes) -> bool:
        super()._take_other(frame)
        if self._inflated_bytes < INFLATED_A_TURN or self._deaf:
            return False
        self._inflated_bytes = 0
        return True

    def _take_fragment(self, frame: bytes, head: int) -> bool:
        """Takes in the next part of a message, or a whole compressed one; returns False if it breaks a rule."""
        if not head & _COMPRESSED:
            return super()._take_fragment(frame, head)
        opcode = head & ~(_COMPRESSED | _FINAL)
        if opcode not in (_TEXT, _BINARY) or self._fragments is not None:
            return False
        if head & _FINAL:
            payload = payload_of(frame)
            if len(payload) > self._max_bytes:
                return False
            message = self._inflate(payload, text=opcode == _TEXT)
            if message is not None:
                self._connection.deliver(_KINDS[opcode], message)
            return True
        self._deflated = opcode
        return super()._take_fragment(frame, _BINARY)  # whose fragments are no text yet

    def _finish(self, fragments: list[bytes]) -> None:
        if self._deflated:
            self._is_text = self._deflated == _TEXT
            self._deflated = 0
            message = self._inflate(b"".join(fragments), text=self._is_text)
            if message is None:
                return
            fragments[:] = [message]
        super()._finish(fragments)

    def _inflate(self, data: bytes, *, text: bool) -> bytes | None:
        """Returns a message; None: the connection fails for it. Subtracts what that took from turn and budget."""
        try:
            message = inflate(data, max_bytes=self._max_bytes)
        except zlib.error:
            self._fail(CloseReason.PROTOCOL_ERROR.code, "a compressed message cannot be inflated")
            return None
        size = self._max_bytes if message is None else len(message)
        self._inflated_bytes += size
        self.budget.bytes -= INFLATED_WEIGHT * size
        self._pacer.share.spend(size // FRAME_BYTES)
        if message is None:
            self._fail(CloseReason.TOO_BIG.code, f"message too big: it inflates to more than {size} bytes")
        elif text and not message.isascii() and utf_8_tail(message, final=True) is None:
            self._fail(CloseReason.BAD_TEXT.code, CloseReason.BAD_TEXT.text)
            message = None
        return message

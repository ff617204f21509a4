"""The payload of a message: proves that the message is whole and the next one, and carries its time.

    @<token>:<sequence, 10 digits>:<monotonic ns, 19 digits>@<filler>

Letters, digits, `@` and `:` only: no dialect has to escape any of it. The token names the run and the channel, so that
messages of others, or of another run, are never taken for ours. The filler is a rotation of one text, by
sequence plus time modulo a prime. A wrong digit in the marker asks for another rotation, and is found.
"""

from __future__ import annotations

from collections.abc import Mapping

_ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ012345678"
_ROTATIONS = len(_ALPHABET)  # 61, a prime: no change of one digit is a multiple of it
TOKEN_BYTES = 8
MARKER_BYTES = TOKEN_BYTES + 33
MIN_BYTES = MARKER_BYTES + 1  # one byte of filler, or nothing would check the digits


class Payloads:
    """Makes and checks the messages of one channel of one run.

    Args:
        token: 8 characters of a-z and 0-9 that no other channel and no other run has.
        size_bytes: Of each message, at least `MIN_BYTES`.
        sizes: {sequence: bytes} of messages that have another size, each at least `MIN_BYTES`.
    """

    def __init__(self, token: str, *, size_bytes: int, sizes: Mapping[int, int] | None = None) -> None:
        self.size_bytes = size_bytes
        self.start = f"@{token}:".encode()
        self._sizes = sizes or {}
        largest_bytes = max((size_bytes, *self._sizes.values())) - MARKER_BYTES
        self._turns = _ALPHABET * (largest_bytes // _ROTATIONS + 2)
        filler_bytes = size_bytes - MARKER_BYTES
        self._fillers = [self._turns[turn : turn + filler_bytes] for turn in range(_ROTATIONS)]

    def build(self, sequence: int, sent_ns: int) -> bytes:
        """The message number `sequence`, sent at `sent_ns` of the monotonic clock."""
        return b"%s%010d:%019d@%s" % (self.start, sequence, sent_ns, self._filler(sequence, sent_ns))

    def read(self, data: bytes | bytearray, start: int, stop: int) -> tuple[int, int] | None:
        """Returns (sequence, sent_ns) of the message whose marker begins at `start`; None if a byte is wrong."""
        digits = start + TOKEN_BYTES + 2
        sequence_digits, sent_digits = data[digits : digits + 10], data[digits + 11 : digits + 30]
        if not (sequence_digits.isdigit() and sent_digits.isdigit()):  # int() would also take spaces, + and _
            return None
        sequence, sent_ns = int(sequence_digits), int(sent_digits)
        marker_end = start + MARKER_BYTES
        filler = self._filler(sequence, sent_ns)
        intact = (
            marker_end + len(filler) <= stop
            and data[digits + 10] == _COLON
            and data[marker_end - 1] == _AT
            and data.startswith(filler, marker_end)
        )
        return (sequence, sent_ns) if intact and sequence > 0 else None

    def _filler(self, sequence: int, sent_ns: int) -> bytes:
        turn = (sequence + sent_ns) % _ROTATIONS
        size_bytes = self._sizes.get(sequence)
        if size_bytes is None:
            return self._fillers[turn]
        return self._turns[turn : turn + size_bytes - MARKER_BYTES]


_COLON, _AT = b":@"

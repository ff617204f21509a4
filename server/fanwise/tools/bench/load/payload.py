"""The payload of a message: proves that the message is whole and the next one, and carries its time.

    @<token>:<sequence, 10 digits>:<monotonic ns, 19 digits>@<filler>

Letters, digits, `@` and `:` only: no dialect has to escape any of it. The token names the run and the channel, so that
messages of others, or of another run, are never taken for ours. The filler is a rotation of one text, by
sequence plus time modulo a prime. A wrong digit in the marker asks for another rotation, and is found.
"""

from __future__ import annotations

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
    """

    def __init__(self, token: str, *, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.start = f"@{token}:".encode()
        filler_bytes = size_bytes - MARKER_BYTES
        turns = _ALPHABET * (filler_bytes // _ROTATIONS + 2)
        self._fillers = [turns[turn : turn + filler_bytes] for turn in range(_ROTATIONS)]

    def build(self, sequence: int, sent_ns: int) -> bytes:
        """The message number `sequence`, sent at `sent_ns` of the monotonic clock."""
        return b"%s%010d:%019d@%s" % (self.start, sequence, sent_ns, self._fillers[(sequence + sent_ns) % _ROTATIONS])

    def read(self, data: bytes | bytearray, start: int, stop: int) -> tuple[int, int] | None:
        """Returns (sequence, sent_ns) of the message whose marker begins at `start`; None if a byte is wrong."""
        digits = start + TOKEN_BYTES + 2
        sequence_digits, sent_digits = data[digits : digits + 10], data[digits + 11 : digits + 30]
        if not (sequence_digits.isdigit() and sent_digits.isdigit()):  # int() would also take spaces, + and _
            return None
        sequence, sent_ns = int(sequence_digits), int(sent_digits)
        marker_end = start + MARKER_BYTES
        intact = (
            start + self.size_bytes <= stop
            and data[digits + 10] == _COLON
            and data[marker_end - 1] == _AT
            and data.startswith(self._fillers[(sequence + sent_ns) % _ROTATIONS], marker_end)
        )
        return (sequence, sent_ns) if intact and sequence > 0 else None


_COLON, _AT = b":@"

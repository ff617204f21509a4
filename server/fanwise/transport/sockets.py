"""Socket options: how much of a client's backlog hides in the kernel, and for how long."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import termios
from typing import Final, NamedTuple, Protocol

from ..core.reasons import CloseReason

# Measured with 1,000 clients and 4 KiB messages flat out: 16, 32, 64 and 128 KiB cost equal CPU per delivery, within
# noise. A reader that stops then hides 146, 146, 160 and 252 KB in the kernel, and 4.3 MB without the option.
UNSENT_BYTES = 16_384
READ_BYTES: Final = 65_536  # of one read
_LINGER: Final = struct.pack("ii", 1, 0)  # struct linger: on, and for 0 s


class Descriptor(Protocol):
    """A socket, as far as leases look at it."""

    def fileno(self) -> int:
        """As `socket.socket.fileno`."""


class TakesOptions(Protocol):
    """A socket, or what uvloop shows of one, whose options can be set."""

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None:
        """As `socket.socket.setsockopt`."""


class TellsOptions(Protocol):
    """A socket, or what uvloop shows of one, whose options can be read."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """As `socket.socket.getsockopt`."""


def bound_reads(transport: object) -> None:
    """Has an asyncio transport read 64 KiB at once and not 256: a turn reads from all connections that have sent.

    Other transports have no such bound, and are left as they are.
    """
    if hasattr(transport, "max_size"):
        transport.max_size = READ_BYTES


# Of Linux's struct tcp_info: the segments that are not acknowledged, and the milliseconds since the latest ACK.
_TCP_INFO: Final = struct.Struct("=24xI28xI")
# And: retransmissions and probes of a closed window in a row without progress or an answer, unacknowledged segments,
# milliseconds since data was sent, and since the latest ACK.
_ANSWERS: Final = struct.Struct("=2xBB20xI16xI8xI")


class _Answers(NamedTuple):
    retransmissions: int
    probes: int
    unacknowledged: int
    sent_ms: int
    heard_ms: int


_TCP_RTO_MAX_MS: Final = 44  # linux/tcp.h, since Linux 6.15; Python has no name for it
_LEAST_RTO_MAX_MS: Final = 1000
_ACKNOWLEDGED: Final = struct.Struct("=120xQ")  # tcpi_bytes_acked, of Linux 4.1 and later

_INT: Final = struct.Struct("=i")


class SocketOptions(NamedTuple):
    """Options of each client's socket.

    Attributes:
        unsent_bytes: TCP_NOTSENT_LOWAT (tcp(7)): how much may wait in the kernel before it was sent at all.
        send_buffer_bytes: SO_SNDBUF (socket(7)): what the kernel keeps until the peer acknowledges it; None leaves it
            to the kernel's autotuning.

    TCP_USER_TIMEOUT is not among them: with it the kernel also ends a peer that reads all the time, if its window
    stays narrower than the next segment. With offloading a segment has 64 KiB. Audits and pings find dead peers.
    """

    unsent_bytes: int = UNSENT_BYTES
    send_buffer_bytes: int | None = None

    def apply(self, sock: TakesOptions) -> None:
        """Sets what the system knows; the rest, and sockets that are not TCP, are left as they are."""
        wanted = [
            # uvloop sets it, and asyncio does not for sockets that were accepted: each answer in two parts took 40 ms.
            (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
            (socket.IPPROTO_TCP, "TCP_NOTSENT_LOWAT", self.unsent_bytes),
            (socket.SOL_SOCKET, "SO_SNDBUF", self.send_buffer_bytes),
        ]
        for level, name, value in wanted:
            option = getattr(socket, name, None)  # not every system has them all
            if option is not None and value is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(level, option, value)


def unanswered_seconds(sock: TellsOptions) -> float:
    """Returns for how long a peer has acknowledged nothing that was sent; 0 if nothing waits, or unknown (tcp(7))."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return 0.0
    try:
        unacknowledged, since_ms = _TCP_INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, option, _TCP_INFO.size))
    except (OSError, ValueError, struct.error):  # no TCP, another system's idea of it, or closed by uvloop
        return 0.0
    return float(since_ms) / 1000 if unacknowledged else 0.0


def unanswered_packets(sock: TellsOptions) -> int | None:
    """Returns how many packets in a row the peer's kernel has not answered; None if unknown (Linux, tcp(7)).

    A kernel whose window is closed is asked again and again for its window, and answers although its program reads
    nothing. Retransmissions count only while no answer has come since.
    """
    told = _answers(sock)
    if told is None:
        return None
    missed = told.retransmissions if told.unacknowledged and told.heard_ms > told.sent_ms else 0
    return max(told.probes, missed)


def is_answering(sock: TellsOptions, *, within_seconds: float) -> bool:
    """Returns whether the peer's kernel answers, although its program may not; False if unknown (Linux, tcp(7)).

    A kernel has answered that has acknowledged all that was sent, and owes no more than one answer about its closed
    window. While a part is on its way, something has to have come from it `within_seconds`.
    """
    told = _answers(sock)
    if told is None or told.probes > 1:
        return False
    return not told.unacknowledged or told.heard_ms < within_seconds * 1000


def _answers(sock: TellsOptions) -> _Answers | None:
    if sys.platform != "linux":
        return None
    try:
        return _Answers._make(_ANSWERS.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ANSWERS.size)))
    except (OSError, ValueError, struct.error):  # no TCP, or closed by uvloop
        return None


def ask_every(sock: TakesOptions, seconds: float) -> None:
    """Has the kernel ask for a closed window so often, at least; by itself it asks less and less, up to every 120 s.

    Linux 6.15 and later can be told; others are left as they are.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError):
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, max(_LEAST_RTO_MAX_MS, round(seconds * 1000)))


def acknowledged_bytes(sock: TellsOptions) -> int:
    """Returns the bytes that the peer's kernel has acknowledged so far; 0 where they are not exposed (tcp(7))."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return 0
    try:
        return int(_ACKNOWLEDGED.unpack(sock.getsockopt(socket.IPPROTO_TCP, option, _ACKNOWLEDGED.size))[0])
    except (OSError, ValueError, struct.error):  # no TCP, an older kernel, or closed by uvloop
        return 0


def reset_at_close(sock: TakesOptions | None) -> None:
    """Has a close of `sock` send RST and drop what the kernel holds: SO_LINGER of 0 s (socket(7))."""
    if sock is not None:
        with contextlib.suppress(OSError):  # no TCP, or closed
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)


class HasNumber(Protocol):
    """A socket, or what uvloop shows of one."""

    def fileno(self) -> int:
        """As `socket.socket.fileno`."""


def kernel_bytes(sock: HasNumber) -> int:
    """Returns the bytes that the kernel holds for the peer, unsent or not acknowledged (SIOCOUTQ, tcp(7)).

    -1: unknown.
    """
    try:
        return int(_INT.unpack(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(_INT.size)))[0])
    except (OSError, ValueError):  # no socket, or closed
        return -1


def lost_reason(error: Exception | None) -> CloseReason | None:
    """Returns the close reason for the error of a lost connection; None if unknown.

    A timeout of the kernel (ETIMEDOUT) means that the peer has stalled.
    """
    return CloseReason.STALLED if isinstance(error, TimeoutError) else None

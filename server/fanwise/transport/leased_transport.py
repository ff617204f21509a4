"""A transport as our protocol classes hold it: whatever takes it away from its protocol ends the lease first."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..core.lease import Lease
from .sockets import Descriptor, reset_at_close


class _NoTransport(asyncio.Transport):
    """The transport of a protocol that has lost its own, or handed it over: closed, and deaf to everything."""

    def is_closing(self) -> bool:
        return True

    def is_reading(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing is left to close."""

    abort = pause_reading = resume_reading = write_eof = close

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nothing takes it."""


NO_TRANSPORT: Final = _NoTransport()
_OWN_METHODS: Final = ("_read_ready_cb", "_write_ready")  # of asyncio's selector transports, which look after a socket


class LeasedTransport(asyncio.Transport):
    """The transport that a protocol was given, and the lease of its socket.

    Owns the invariant that the lease ends before the transport closes, is aborted or changes its protocol. The event
    loop's own `connection_lost` and `eof_received` do not come through here: their protocol calls `lease.end`.

    Args:
        transport: The event loop's own, or the `LeasedTransport` of the protocol that hands it over.
        on_end: Called when the lease ends, however that comes about.
        debug: Whether the lease is to name the socket, for sweeps to compare.
        sock: Its socket, without TLS; None: the transport is asked.

    Attributes:
        place: The connection's, for the protocol that takes it over; only there while it does.
    """

    __slots__ = ("_held", "_paused", "_transport", "lease", "place")
    place: object

    def __init__(
        self,
        transport: asyncio.Transport,
        on_end: Callable[[], None],
        debug: bool = False,  # noqa: FBT002 - by position: one is made for each connection
        sock: Descriptor | None = None,
    ) -> None:
        if isinstance(transport, LeasedTransport):
            transport = transport.released()
        self._transport = transport
        self._paused = False  # reading, by users that know it only as a transport
        self._held = False  # reading, by our protocol class
        if sock is None and transport.get_extra_info("sslcontext") is None:
            sock = transport.get_extra_info("socket")
        descriptor = sock.fileno() if sock is not None else None
        identity = os.fstat(descriptor).st_ino if debug and descriptor is not None else None
        self.lease = Lease(descriptor, on_end, identity)

    def report_every_byte(self) -> None:
        """Makes the event loop call `pause_writing` as soon as anything is buffered, by any writer."""
        plain = self.lease.descriptor is not None  # those with TLS pause at the mark, plain ones above theirs
        self._transport.set_write_buffer_limits(high=0 if plain else 1, low=0)

    def released(self) -> asyncio.Transport:
        """Ends the lease, and returns the event loop's own transport for the next owner."""
        self.lease.end()
        return self._transport

    def lost(self) -> None:
        """Ends the lease of a connection that is lost, in its protocol's `connection_lost`, and lets the transport go.

        asyncio's own transport holds methods of itself: it would wait for a full collection, with its socket.
        """
        self.lease.end()
        for name in _OWN_METHODS:
            getattr(self._transport, "__dict__", {}).pop(name, None)
        self._transport = NO_TRANSPORT

    # Calls that take the transport away.

    def close(self) -> None:
        """Closes the transport when what is buffered has been sent."""
        self.lease.end()
        self._transport.close()

    def abort(self) -> None:
        """Closes the transport at once. A peer that loses buffered bytes by that is reset, and the kernel's go as well.

        Otherwise the FIN of a peer that does not read waits behind 16 KB in the kernel, for minutes.
        """
        self.lease.end()
        if self._transport.get_write_buffer_size():
            reset_at_close(self._transport.get_extra_info("socket"))
        self._transport.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Gives the transport to another protocol. The one before hears nothing any more, and finds it closed."""
        self.lease.end()
        self._transport.set_protocol(protocol)
        self._transport = NO_TRANSPORT

    def write_eof(self) -> None:
        """Says that nothing more will be sent."""
        self.lease.end()
        self._transport.write_eof()

    # All else is the event loop's.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends or buffers `data`, unless the transport is closing."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Sends or buffers all of `list_of_data`, unless the transport is closing."""
        if not self._transport.is_closing():
            self._transport.writelines(list_of_data)

    def is_closing(self) -> bool:
        """Whether the transport is closing or closed."""
        return self._transport.is_closing()

    def is_reading(self) -> bool:
        """Whether the transport reads."""
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        """Stops reading."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Goes on reading, unless that is held."""
        self._paused = False
        if not self._held:
            self._transport.resume_reading()

    def hold_reading(self) -> None:
        """Stops reading until `release_reading`, whatever others ask for meanwhile. Idempotent."""
        self._held = True
        self._transport.pause_reading()

    def release_reading(self) -> None:
        """Goes on reading, unless others have paused it. Idempotent."""
        if self._held:
            self._held = False
            if not self._paused:
                self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        """How many bytes are buffered."""
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The marks at which writing pauses and resumes: (low, high)."""
        return self._transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Sets the marks at which writing pauses and resumes."""
        self._transport.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        """Whether `write_eof` works."""
        return self._transport.can_write_eof()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Returns what the event loop knows of the connection."""
        return self._transport.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Returns the protocol that the event loop notifies now."""
        return self._transport.get_protocol()

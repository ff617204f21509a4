"""The lease of a file descriptor: who may write to a socket beside its transport, and for how long.

A number without a lease is never written to: the kernel gives the number of a closed socket to the next one. Only a
ready group reads the number of a lease, and it holds no lease that has ended.
"""

from __future__ import annotations

from collections.abc import Callable


class Lease:
    """The right to write to a socket beside its transport. Owns the invariant that no ready group outlives it.

    Args:
        descriptor: The socket's number; None where sweeps write through the transport (TLS). Such a lease ends, as
            any other, with what takes the transport away.
        on_end: Called once, when the lease ends: the holder leaves the ready groups. None: the holder is in none.
        identity: The inode of the socket behind the number (fstat(2)), for sweeps to compare; None: not compared.

    Attributes:
        ended: Whether nothing may be written any more.
        holders: How many ready groups the holder is in; 0 once the lease has ended.
    """

    __slots__ = ("_on_end", "descriptor", "ended", "holders", "identity")

    def __init__(
        self, descriptor: int | None, on_end: Callable[[], None] | None = None, identity: int | None = None
    ) -> None:
        self.descriptor = descriptor
        self.identity = identity
        self.ended = False
        self.holders = 0
        self._on_end = on_end

    def hold(self) -> int | None:
        """Returns the descriptor to a ready group that takes its holder in.

        Raises:
            AssertionError: The transport is closed, or belongs to another protocol.
        """
        if self.ended:
            raise AssertionError(f"descriptor {self.descriptor} may be another connection's: its lease has ended")
        self.holders += 1
        return self.descriptor

    def end(self) -> None:
        """Ends the lease: the holder leaves the ready groups before this returns. Idempotent.

        Raises:
            AssertionError: A ready group still has the descriptor.
        """
        if self.ended:
            return
        self.ended = True  # first: a holder that leaves cannot join again
        on_end, self._on_end = self._on_end, None  # it leads back to the protocol: freed at once, not by the collector
        if on_end is not None:
            on_end()
        if self.holders:
            raise AssertionError(f"{self.holders} ready groups hold descriptor {self.descriptor} after its lease")

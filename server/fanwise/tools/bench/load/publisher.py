"""The publisher of one channel: at fixed times, or as many messages as keep the window full."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

from ...load.histogram import Histogram
from ...load.wire import TEXT, client_frame
from .dialects import Dialect
from .payload import Payloads

_OUTGOING_BYTES = 1 << 20  # built and not yet taken by the server; more would only be memory


class Publisher:
    """The sending half of a publishing connection. Sequences begin at 1.

    Args:
        key_of: Returns the key of a message by its sequence; None: it has no key.
        done: The sequence that the last healthy client waits for, as far as known; 0 when there is none.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        payloads: Payloads,
        dialect: Dialect,
        channel: str,
        key_of: Callable[[int], str | None] = lambda _sequence: None,
        done: Callable[[], int],
    ) -> None:
        self.sequence = 0  # of the last message built
        self.late = Histogram()  # by how much we missed the time of a message while the server would have taken it
        self.lost = False
        self._socket = sock
        self._payloads = payloads
        self._dialect = dialect
        self._channel = channel
        self._key_of = key_of
        self._done = done
        self._outgoing = bytearray()
        self._times: Iterator[int] = iter(())
        self._next_ns = self._stop_ns = self._window = 0
        self.blocked = False  # the socket took not everything

    @property
    def finished(self) -> bool:
        """Nothing is left to send."""
        return self.lost or not (self._outgoing or self._stop_ns)

    def at_times(self, times: Iterator[int], *, stop_ns: int) -> None:
        """Starts publishing: one message at each of the times (ns, in order), as far as they lie before `stop_ns`."""
        self._times, self._stop_ns = times, stop_ns
        self._next_ns = self._next_time()

    def saturate(self, window_messages: int, *, start_ns: int, stop_ns: int) -> None:
        """Starts publishing: as many messages as the window has room for."""
        self._window, self._next_ns, self._stop_ns = window_messages, start_ns, stop_ns

    def publish(self, sent_ns: int) -> None:
        """Adds a message with the time `sent_ns`; `flush` sends the message."""
        self.sequence += 1
        payload = self._payloads.build(self.sequence, sent_ns)
        text = self._dialect.publish(self._channel, payload, self._key_of(self.sequence))
        self._outgoing += client_frame(TEXT, text)

    def pump(self, now_ns: int) -> None:
        """Publishes what is due."""
        if self._stop_ns and not self.lost and now_ns >= self._next_ns:
            over = now_ns >= self._stop_ns
            if not self._window:
                self._catch_up(min(now_ns, self._stop_ns - 1), now_ns)
            elif not over:
                self._fill_window(now_ns)
            if over:
                self._stop_ns = 0
        if self._outgoing and not self.lost:
            self.flush()

    def due_seconds(self, now_ns: int) -> float:
        """Returns the seconds until a message is due, at most 0.02."""
        if not self._stop_ns or self._window or self.blocked:
            return 0.02
        return min(max(self._next_ns - now_ns, 0) / 1e9, 0.02)

    def flush(self) -> None:
        """Sends as many bytes as the socket takes; the rest waits for the next `pump`."""
        try:
            sent = self._socket.send(self._outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.lost = True
            return
        del self._outgoing[:sent]
        self.blocked = bool(self._outgoing)

    def _fill_window(self, now_ns: int) -> None:
        done = self._done()
        room = done + self._window - 1 - self.sequence if done else 0  # without clients nothing frees the window
        while room > 0 and len(self._outgoing) < _OUTGOING_BYTES:
            self.publish(now_ns)
            room -= 1

    def _catch_up(self, due_ns: int, now_ns: int) -> None:
        while self._next_ns <= due_ns and len(self._outgoing) < _OUTGOING_BYTES:
            if not self.blocked:
                self.late.add(now_ns - self._next_ns)
            self.publish(self._next_ns)
            self._next_ns = self._next_time()

    def _next_time(self) -> int:
        return min(next(self._times, self._stop_ns), self._stop_ns)

"""One worker process, as it sees its launcher: signs of life there, and orders back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Final

BEAT_SECONDS: Final = 1.0
READY: Final = b"r"
BEAT: Final = b"."
_READ_BYTES: Final = 64


class Order(Enum):
    """What a launcher asks for."""

    DRAIN = b"d"  # clients leave, new ones are refused, and the process ends
    HAND_OVER = b"h"  # likewise, and another worker accepts what comes to the listener
    STOP = b"s"  # the process ends at once


class Member:
    """This process as one of several workers.

    Args:
        index: The worker's number, from 1 on.
        count: How many workers there are.
        listener: The descriptor of a bound socket.
        launcher: The descriptor of a socket to the launcher.

    Attributes:
        index: The worker's number.
        count: How many workers there are.
        listener: The socket to accept from.
    """

    def __init__(self, index: int, count: int, listener: int, launcher: int) -> None:
        self.index = index
        self.count = count
        self.listener = socket.socket(fileno=listener)
        self._launcher = socket.socket(fileno=launcher)
        self._launcher.setblocking(False)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._obey: Callable[[Order], None] = lambda _: None

    @classmethod
    def of(cls, text: str) -> Member:
        """Returns the member that `text` describes: "1/4:7:8", as `argument` has made it."""
        place, listener, launcher = text.split(":")
        index, count = place.split("/")
        return cls(int(index), int(count), int(listener), int(launcher))

    def start(self, obey: Callable[[Order], None]) -> None:
        """Says that the worker accepts connections, gives a sign of life every second, and has orders obeyed."""
        self._loop = asyncio.get_running_loop()
        self._obey = obey
        self._loop.add_reader(self._launcher.fileno(), self._read)
        self._say(READY)
        self._beat()

    def stop(self) -> None:
        """Obeys no more orders; the launcher hears the rest from the end of the process. Idempotent."""
        if self._loop is not None and self._timer is not None:
            self._timer.cancel()
            self._loop.remove_reader(self._launcher.fileno())
            self._launcher.close()
            self._loop = None

    def _beat(self) -> None:
        assert self._loop is not None
        self._say(BEAT)
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beat)

    def _say(self, sign: bytes) -> None:
        with suppress(OSError):  # the launcher has ended, or has not read for long
            self._launcher.send(sign)

    def _read(self) -> None:
        try:
            orders = self._launcher.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            orders = b""
        if not orders:  # there is no launcher any more
            self.stop()
            self._obey(Order.DRAIN)
        for order in orders:
            self._obey(Order(bytes([order])))


def argument(index: int, count: int, listener: int, launcher: int) -> str:
    """Returns the text from which `Member.of` makes a member."""
    return f"{index}/{count}:{listener}:{launcher}"

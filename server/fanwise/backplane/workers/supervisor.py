"""What systemd, or another supervisor with the protocol of sd_notify(3), hears of the process that it has started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final, Self

_OFTEN: Final = 3  # signs of life in the time after which the supervisor would end the process


class Supervisor:
    """Sends the supervisor what sd_notify(3) lists. Does nothing where there is none.

    Args:
        address: A Unix datagram socket; `@` stands for the zero byte of an abstract one. Empty for none.
        watchdog_seconds: The longest time without a sign of life; 0 where none is expected.
    """

    def __init__(self, address: str = "", *, watchdog_seconds: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._pause = watchdog_seconds / _OFTEN
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of_process(cls, environ: MutableMapping[str, str] = os.environ) -> Self:
        """Returns the supervisor of this process, and takes its variables away, which are not for child processes.

        The variables are NOTIFY_SOCKET, and of sd_watchdog_enabled(3) WATCHDOG_USEC and WATCHDOG_PID.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        ours = microseconds.isdecimal() and pid in ("", str(os.getpid()))
        return cls(address, watchdog_seconds=int(microseconds) / 1_000_000 if ours else 0.0)

    def ready(self, status: str) -> None:
        """Tells that connections are accepted; the event loop gives signs of life from now on."""
        self._tell(f"READY=1\nSTATUS={status}")
        self._alive()

    def stopping(self) -> None:
        """Tells that the process ends; signs of life go on as long as the event loop runs."""
        self._tell("STOPPING=1")

    def close(self) -> None:
        """Gives no sign of life any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _alive(self) -> None:
        if self._pause and self._address:
            self._tell("WATCHDOG=1")
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._alive)

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(text.encode(), self._address)

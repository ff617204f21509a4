"""Pings on the virtual clock, as a server's keep-alive sends them, and what becomes of a client without a pong.

A pause that the kernels hide is no stall: nothing waits in user space. The ping behind what they hide is not answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from ..broadcaster.client import Client
from ..core.reasons import CloseReason
from .clockwork import VirtualLoop
from .outcome import Candidate
from .virtual_socket import VirtualSocket

_GRACE_SECONDS: Final = 1.0  # for a pong that is late, as the keep-alive has it
_FRAME: Final = bytes(6)  # two bytes of header, and four of payload


@dataclass(slots=True)
class _Pinged:
    client: Client
    socket: VirtualSocket
    place: float = 0.0  # where in the stream the latest ping ends
    asked_at: float = 0.0

    @property
    def gone(self) -> bool:
        return self.client.reason is not None or self.socket.aborted

    @property
    def answered(self) -> bool:
        return self.socket.read_bytes >= self.place


class Pings:
    """Pings clients at the candidate's interval, each from its arrival on.

    Args:
        candidate: The settings. An interval of 0 pings nobody.
        loop: The virtual clock.
    """

    def __init__(self, candidate: Candidate, loop: VirtualLoop) -> None:
        self._interval_seconds = candidate.ping_seconds
        self._pong_seconds = candidate.pong_seconds
        self._loop = loop

    def begin(self, client: Client, socket: VirtualSocket) -> None:
        """Pings a client from now on."""
        if self._interval_seconds > 0:
            self._later(self._interval_seconds, partial(self._ask, _Pinged(client, socket)))

    def _later(self, seconds: float, call: partial[None]) -> None:
        self._loop.call_at(self._loop.time() + seconds, call)

    def _ask(self, one: _Pinged) -> None:
        if one.gone:
            return
        self._later(self._interval_seconds, partial(self._ask, one))
        if one.answered:
            one.socket.write(_FRAME)
            one.place, one.asked_at = one.socket.given_bytes, self._loop.time()
            self._later(self._pong_seconds, partial(self._look, one, one.place, final=False))

    def _look(self, one: _Pinged, place: float, *, final: bool) -> None:
        """Looks for the pong: one that cannot come has as much time again, another one a moment of grace."""
        if one.gone or one.answered or one.place != place:
            return
        if not one.socket.writable:
            self._later(self._pong_seconds, partial(self._look, one, place, final=False))
        elif not final:
            self._later(_GRACE_SECONDS, partial(self._look, one, place, final=True))
        elif one.client.sink_unanswered(self._loop.time() - one.asked_at):
            self._later(self._pong_seconds, partial(self._look, one, place, final=False))
        else:
            one.client.abort(CloseReason.NO_PONG)

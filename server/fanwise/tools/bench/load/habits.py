"""How clients of each kind use a connection: when they read, and when they leave."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from time import monotonic_ns

from ...load.behaviour import Behaviour
from .agenda import Agenda
from .client import Client
from .engine import BUFFER_BYTES, GONE, Engine
from .plan import Plan

_COARSE_NS, _FINE_NS = 100_000_000, 20_000_000  # between two reads of a slow client
_MOST_CREDIT = 3  # a slow client that was read late catches up so many reads
_PROMPT_BYTES = 20e6  # a second: faster clients are read as soon as something is there


class Habits:
    """Reads for clients at their pace from the beginning of the measurement on, and has flapping ones leave.

    Args:
        read_rest: Called with a client that reads all that is there.
        leave: Called with a flapping client that goes now.
    """

    def __init__(
        self,
        engine: Engine,
        agenda: Agenda,
        plan: Plan,
        *,
        read_rest: Callable[[Client], object],
        leave: Callable[[Client], None],
    ) -> None:
        self._engine = engine
        self._agenda = agenda
        self._plan = plan
        self._read_rest = read_rest
        self._leave = leave
        self._start_ns = 0  # of the measurement; 0 before

    def begin(self, client: Client) -> None:
        """Begins with a connection that has just opened."""
        if self._start_ns:
            self._follow(client, monotonic_ns())
        else:
            self._attend(client)
        if client.kind is Behaviour.FLAPPING:
            stay_ns = int(self._plan.flap_seconds.even(client.chance) * 1e9)
            self._agenda.at(monotonic_ns() + stay_ns, self._while_open(client, lambda *_: self._leave(client)))

    def start(self, clients: list[Client], start_ns: int) -> None:
        """The measurement begins: the connected clients no longer read all at once."""
        self._start_ns = start_ns
        for client in clients:
            self._follow(client, start_ns)

    def _follow(self, client: Client, now_ns: int) -> None:
        """Reads as the client does now, until that changes."""
        until, pace = client.supply.at((now_ns - self._start_ns) / 1e9)
        if 0 < pace < _PROMPT_BYTES:
            self._ignore(client)
            early_ns = int(client.chance.random() * self._tick_ns(pace))  # not all clients at one moment
            self._trickle(now_ns - early_ns, 0.0, client, now_ns)
            return
        if pace:
            self._attend(client)
        else:
            self._ignore(client)
        if until < math.inf and client.connection is not None:  # reading may have met the end of the connection
            self._agenda.at(self._start_ns + int(until * 1e9), self._while_open(client, self._follow))

    def _attend(self, client: Client) -> None:
        connection, receiver = client.opened
        if client.ended_ns:
            self._read_rest(client)
        elif connection.fd not in self._engine.receivers:
            self._engine.read(connection.fd, receiver)

    def _ignore(self, client: Client) -> None:
        if not client.ended_ns:
            self._engine.watch(client.opened[0].fd, GONE, lambda _mask: self._hung_up(client))

    def _hung_up(self, client: Client) -> None:
        """The server has ended a connection that is not read: only a stalled client would never learn why."""
        client.ended_ns = monotonic_ns()
        if client.kind is Behaviour.STALLED:
            self._read_rest(client)
        else:
            self._engine.forget(client.opened[0].fd)

    def _while_open(self, client: Client, act: Callable[[Client, int], None]) -> Callable[[int], None]:
        """Returns an action that does nothing once this connection of the client has ended."""
        connection = client.connection

        def action(now_ns: int) -> None:
            if client.connection is connection:
                act(client, now_ns)

        return action

    def _trickle(self, last_ns: int, credit: float, client: Client, now_ns: int) -> None:
        """Reads for a slow client what its pace allows since `last_ns`, and `credit` bytes that it did not use."""
        _, pace = client.supply.at((now_ns - self._start_ns) / 1e9)
        if not 0 < pace < _PROMPT_BYTES:
            self._follow(client, now_ns)
            return
        tick_ns, (connection, receiver) = self._tick_ns(pace), client.opened
        most = max(pace / 1e9 * tick_ns * _MOST_CREDIT, 1.0)
        credit = min(credit + pace / 1e9 * (now_ns - last_ns), most)
        while credit >= 1 and client.connection is connection:
            size = self._engine.read_some(connection.fd, receiver, min(int(credit), BUFFER_BYTES))
            if not size:
                break
            credit -= size
        if client.connection is connection:
            self._agenda.at(now_ns + tick_ns, self._while_open(client, partial(self._trickle, now_ns, credit)))

    def _tick_ns(self, pace: float) -> int:
        """A tenth of a second, or less where so much would not fit into the kernel's buffer."""
        return _COARSE_NS if pace / 10 <= self._plan.buffer_bytes(Behaviour.SLOW) / 2 else _FINE_NS


def receive_buffer(client: Client, plan: Plan) -> int | None:
    """Returns the bytes that the kernel may hold for a client; None for its default."""
    if not client.is_read_late:
        return None
    fast = plan.slow_bytes_per_second.high * 2 * _FINE_NS / 1e9 if client.kind is Behaviour.SLOW else 0
    return max(plan.buffer_bytes(client.kind), int(fast))

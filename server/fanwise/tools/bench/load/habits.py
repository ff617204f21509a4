"""How clients of each kind use a connection: when they read, and when they leave."""

from __future__ import annotations

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


class Habits:
    """Reads for slow and pausing clients at their times, and has flapping ones leave.

    Args:
        read_rest: Called with a client that reads all that is there.
        leave: Called with a flapping client that goes now.

    Attributes:
        started: Whether the measurement has begun: only then do clients pause.
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
        self.started = False
        self._engine = engine
        self._agenda = agenda
        self._plan = plan
        self._read_rest = read_rest
        self._leave = leave

    def begin(self, client: Client) -> None:
        """Begins with a connection that has just opened."""
        match client.kind:
            case Behaviour.SLOW:
                self._ignore(client)
                tick_ns = self._tick_ns(client)
                now_ns = monotonic_ns() - int(client.chance.random() * tick_ns)  # not all of them at one moment
                self._agenda.at(now_ns + tick_ns, self._while_open(client, partial(self._trickle, now_ns, 0.0)))
            case Behaviour.STALLED:
                self._ignore(client)
            case Behaviour.PAUSING if self.started:
                self._wake(client, monotonic_ns())
            case Behaviour.FLAPPING:
                self._attend(client)
                stay_ns = int(self._plan.flap_seconds.even(client.chance) * 1e9)
                self._agenda.at(monotonic_ns() + stay_ns, self._while_open(client, lambda *_: self._leave(client)))
            case _:
                self._attend(client)

    def start(self, client: Client, now_ns: int) -> None:
        """The measurement begins: a pausing client has its first pause after a part of the time between two."""
        if client.kind is Behaviour.PAUSING:
            until_ns = int(self._plan.awake_seconds.even(client.chance) * client.chance.random() * 1e9)
            self._agenda.at(now_ns + until_ns, self._while_open(client, self._pause))

    def _attend(self, client: Client) -> None:
        connection, receiver = client.opened
        self._engine.read(connection.fd, receiver)

    def _ignore(self, client: Client) -> None:
        connection, _ = client.opened
        self._engine.watch(connection.fd, GONE, lambda _mask: self._hung_up(client))

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

    def _wake(self, client: Client, now_ns: int) -> None:
        if client.ended_ns:
            self._read_rest(client)
            return
        self._attend(client)
        until_ns = int(self._plan.awake_seconds.even(client.chance) * 1e9)
        self._agenda.at(now_ns + until_ns, self._while_open(client, self._pause))

    def _pause(self, client: Client, now_ns: int) -> None:
        self._ignore(client)
        until_ns = int(self._plan.pause_seconds.even(client.chance) * 1e9)
        self._agenda.at(now_ns + until_ns, self._while_open(client, self._wake))

    def _trickle(self, last_ns: int, credit: float, client: Client, now_ns: int) -> None:
        """Reads for a slow client what its rate allows since `last_ns`, and `credit` bytes that it did not use."""
        tick_ns, (connection, receiver) = self._tick_ns(client), client.opened
        rate = client.bytes_per_second / 1e9
        credit = min(credit + rate * (now_ns - last_ns), max(rate * tick_ns * _MOST_CREDIT, 1.0))
        while credit >= 1 and client.connection is connection:
            size = self._engine.read_some(connection.fd, receiver, min(int(credit), BUFFER_BYTES))
            if not size:
                break
            credit -= size
        if client.connection is connection:
            self._agenda.at(now_ns + tick_ns, self._while_open(client, partial(self._trickle, now_ns, credit)))

    def _tick_ns(self, client: Client) -> int:
        """A tenth of a second, or less where so much would not fit into the kernel's buffer."""
        coarse = client.bytes_per_second / 10 <= self._plan.receive_buffer_bytes / 2
        return _COARSE_NS if coarse else _FINE_NS


def receive_buffer(client: Client, plan: Plan) -> int | None:
    """Returns the bytes that the kernel may hold for a client; None for its default."""
    if not client.is_read_late:
        return None
    fast = client.bytes_per_second * 2 * _FINE_NS // 1_000_000_000 if client.kind is Behaviour.SLOW else 0
    return max(plan.receive_buffer_bytes, fast)

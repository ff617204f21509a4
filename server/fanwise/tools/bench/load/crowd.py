"""The clients of one worker: their connections, their behaviour, and the causes of drops."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from time import monotonic_ns

from ...load.behaviour import Behaviour
from ...load.wire import CLOSE, PING, PONG, TEXT, Handshake, close_code
from .connection import Connection, resolve
from .dialects import DIALECTS, Meaning
from .engine import BUFFER_BYTES, GONE, Engine
from .payload import Payloads
from .plan import Plan
from .receiver import Control, Lane, Receiver, Tally
from .snapshots import MAX_DROPS, Drop
from .stream import Progress, Stream

_OPENING_AT_ONCE = 128  # more only queue up in the server's backlog
_SLOW_TICK_NS = 100_000_000
_UNREAD = (Behaviour.SLOW, Behaviour.STALLED)  # not read as soon as something is there
_NORMAL = (1000).to_bytes(2, "big")  # the close code of a goodbye
_TEXT_CHARACTERS = 80  # of what a server says, in a cause or a note


class Crowd:
    """Opens, reads, answers and counts. `start_ns` is when the measurement began; drops before are at 0 seconds."""

    def __init__(self, plan: Plan, worker: int) -> None:
        self.engine = Engine(on_controls=self._controls, on_lost=self._lost)
        self.start_ns = 0
        self.dialect = DIALECTS[plan.dialect]
        self.tallies = {kind: Tally() for kind in Behaviour}
        self.progress = [Progress() for _ in range(plan.channels)]  # [of the healthy clients], by channel
        self.publishers: dict[int, Connection] = {}  # {channel: its publisher's connection}
        self.publisher_gone: Callable[[int], None] = lambda _channel: None
        self.drops: list[Drop] = []  # since the last snapshot
        self.drop_counts: Counter[tuple[Behaviour, str]] = Counter()
        self.notes: Counter[str] = Counter()
        self.flaps = 0
        self.ready = self.failed = 0
        self.ending = False
        self._plan = plan
        self._streams = [
            Stream(Payloads(plan.channel_token(channel), size_bytes=plan.size_bytes))
            for channel in range(plan.channels)
        ]
        self._lanes: dict[tuple[int, Behaviour], Lane] = {}  # {(channel, kind): lane}
        self._handshakes = [
            Handshake(plan.channel_url(channel), subprotocol=self.dialect.subprotocol, headers=plan.headers)
            for channel in range(plan.channels)
        ]
        self._address = resolve(plan.channel_url(0))
        self._open: dict[int, tuple[Connection, Receiver]] = {}  # {fd: client}
        self._waiting = deque(
            [*plan.share(worker), *((channel, Behaviour.PUBLISHER) for channel in plan.publishes(worker))]
        )
        self._returning: deque[int] = deque()  # channels of flapping clients that have left; none of them counts again
        self._opening: set[Connection] = set()
        self._slow: dict[int, Receiver] = {}  # {fd: slow client}
        self._next_slow_ns = 0
        self._flapping: list[tuple[int, int, Connection]] = []  # heap of (when, fd, client that goes then)
        self._random = random.Random(worker)  # noqa: S311 - how long a client stays is no secret

    @property
    def settled(self) -> bool:
        """Whether each client was connected or refused."""
        return not self._waiting and not self._opening

    def open_clients(self) -> dict[Behaviour, int]:
        """{kind: open connections}."""
        return dict(Counter(connection.kind for connection, _ in self._open.values()))

    def behind(self, sent: list[int]) -> int:
        """Messages that healthy clients wait for, summed over them; `sent` is the last sequence of each channel."""
        return sum(
            max(sent[connection.channel] + 1 - (receiver.expected or 1), 0)
            for connection, receiver in self._open.values()
            if connection.kind is Behaviour.HEALTHY
        )

    def tick(self, now_ns: int) -> None:
        """Opens waiting connections, reads for slow clients, and ends flapping ones."""
        while self._waiting and len(self._opening) < _OPENING_AT_ONCE:
            self._begin(*self._waiting.popleft())
        while self._returning and len(self._opening) < _OPENING_AT_ONCE:
            self._begin(self._returning.popleft(), Behaviour.FLAPPING, again=True)
        if self._slow and now_ns >= self._next_slow_ns:
            self._next_slow_ns = now_ns + _SLOW_TICK_NS
            limit_bytes = max(self._plan.slow_bytes_per_second // 10, 1)
            for fd, receiver in list(self._slow.items()):
                self.engine.read_some(fd, receiver, limit_bytes)
        while self._flapping and self._flapping[0][0] <= now_ns:
            _, fd, connection = heappop(self._flapping)
            if fd in self._open and self._open[fd][0] is connection:
                self._flap(fd, connection)

    def fates(self) -> bool:
        """Reads at the end what slow and stalled clients have not read, to learn their close codes.

        Returns whether there were bytes: then there may be more, and a close frame behind.
        """
        self.ending = True
        late = [(fd, receiver) for fd, (connection, receiver) in self._open.items() if connection.kind in _UNREAD]
        return any([self._drain(fd, receiver) for fd, receiver in late])  # noqa: C419 - all of them, not up to one

    def close(self) -> None:
        """Closes all sockets."""
        self.ending = True
        for connection, _ in self._open.values():
            connection.send(CLOSE, _NORMAL)
            connection.close()
        for connection in self._opening:
            connection.close()
        self._open.clear()
        self._opening.clear()
        self.engine.close()

    def _begin(self, channel: int, kind: Behaviour, *, again: bool = False) -> None:
        connection = Connection(
            self.engine,
            handshake=self._handshakes[channel],
            address=self._address,
            kind=kind,
            channel=channel,
            on_open=partial(self._opened, again=again),
            on_fail=self._failed_again if again else self._failed,
        )
        self._opening.add(connection)

    def _lane(self, channel: int, kind: Behaviour) -> Lane:
        if (channel, kind) not in self._lanes:
            self._lanes[channel, kind] = Lane(
                self._streams[channel],
                self.tallies[kind],
                progress=self.progress[channel] if kind is Behaviour.HEALTHY else None,
                measured_from=self._plan.measured_from,
            )
        return self._lanes[channel, kind]

    def _opened(self, connection: Connection, rest: bytes, *, again: bool) -> None:
        fd, kind = connection.fd, connection.kind
        receiver = Receiver(self._lane(connection.channel, kind), connection.socket.recv_into)
        self._open[fd] = (connection, receiver)
        self._opening.discard(connection)
        if kind is Behaviour.PUBLISHER:
            self.publishers[connection.channel] = connection
        if kind in _UNREAD:
            self.engine.watch(fd, GONE, partial(self._hung_up, fd, receiver))
            if kind is Behaviour.SLOW:
                self._slow[fd] = receiver
        else:
            self.engine.read(fd, receiver)
        if kind is Behaviour.FLAPPING:
            stay_ns = int(self._random.uniform(*self._plan.flap_seconds) * 1e9)
            heappush(self._flapping, (monotonic_ns() + stay_ns, fd, connection))
        self._subscribe(connection, again=again)
        if rest:
            self._controls(fd, receiver.feed(rest, monotonic_ns()))

    def _subscribe(self, connection: Connection, *, again: bool) -> None:
        """Counts a client when it comes for the first time."""
        opening = self.dialect.opening(self._plan.channel(connection.channel))
        if opening is None or connection.kind is Behaviour.PUBLISHER:
            self.ready += not again
            return
        connection.send(TEXT, opening)
        # The run waits for the answers of healthy clients only.
        self.ready += connection.kind is not Behaviour.HEALTHY and not again

    def _failed(self, connection: Connection, reason: str) -> None:
        self._opening.discard(connection)
        self.failed += 1
        self.notes[reason] += 1

    def _failed_again(self, connection: Connection, reason: str) -> None:
        self._opening.discard(connection)
        self.notes[f"a flapping client could not come back: {reason}"] += 1
        if not self.ending:
            self._returning.append(connection.channel)

    def _flap(self, fd: int, connection: Connection) -> None:
        """Ends a flapping client: every other one with a close frame."""
        self.flaps += 1
        if self.flaps % 2:
            connection.send(CLOSE, _NORMAL)
        self._leave(fd).close(abort=not self.flaps % 2)
        if not self.ending:
            self._returning.append(connection.channel)

    def _leave(self, fd: int) -> Connection:
        connection, receiver = self._open.pop(fd)
        self._slow.pop(fd, None)
        receiver.close()
        return connection

    def _hung_up(self, fd: int, receiver: Receiver, _mask: int) -> None:
        """The server has ended a connection that is not read (or is read slowly): what is left says why."""
        self._drain(fd, receiver)

    def _drain(self, fd: int, receiver: Receiver) -> bool:
        some = False
        while fd in self._open and self.engine.read_some(fd, receiver, BUFFER_BYTES):
            some = True
        return some

    def _lost(self, fd: int, cause: str) -> None:
        if fd not in self._open:
            return
        connection = self._leave(fd)
        connection.close()
        if connection.kind is Behaviour.PUBLISHER:
            self.publisher_gone(connection.channel)
        if self.ending and connection.kind not in _UNREAD:
            return
        self.drop_counts[connection.kind, cause] += 1
        if sum(self.drop_counts.values()) <= MAX_DROPS:
            at_seconds = (monotonic_ns() - self.start_ns) / 1e9 if self.start_ns else 0.0
            self.drops.append(Drop(at_seconds, connection.kind, cause))
        if connection.kind is Behaviour.FLAPPING and not self.ending:
            self._returning.append(connection.channel)

    def _controls(self, fd: int, controls: list[Control]) -> None:
        for control in controls:
            if fd not in self._open:
                return
            connection, receiver = self._open[fd]
            if control.opcode == CLOSE:
                words = control.payload[2:].decode(errors="replace")[:_TEXT_CHARACTERS]
                self._lost(fd, f"{close_code(control.payload)} {words}".strip())
            elif control.opcode == PING:
                if connection.kind is not Behaviour.STALLED:
                    connection.send(PONG, control.payload)
            elif control.opcode != PONG:
                self._told(connection, receiver, control.payload)

    def _told(self, connection: Connection, receiver: Receiver, text: bytes) -> None:
        answer = self.dialect.read(text)
        if answer.meaning is Meaning.READY:
            self.ready += connection.kind is Behaviour.HEALTHY
        elif answer.meaning is Meaning.GAP:
            receiver.lane.tally.gaps_told += answer.skipped
        elif answer.meaning is Meaning.REFUSED:
            self.notes[answer.text[:_TEXT_CHARACTERS]] += 1

"""The clients of one worker: their connections, what the server says to them, and the causes of drops."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from time import monotonic_ns

from ...load.behaviour import Behaviour
from ...load.wire import CLOSE, PING, PONG, TEXT, Handshake, close_code
from .agenda import Agenda
from .client import Client
from .connection import Connection, resolve
from .dialects import DIALECTS, Answer, Meaning, Position
from .engine import BUFFER_BYTES, Engine
from .habits import Habits, receive_buffer
from .plan import Place, Plan
from .receiver import Control, Lane, Receiver, Tally
from .snapshots import MAX_DROPS, Drop
from .stream import Progress, Stream

_OPENING_AT_ONCE = 128  # more only queue up in the server's backlog
_NORMAL = (1000).to_bytes(2, "big")  # the close code of a goodbye
_TEXT_CHARACTERS = 80  # of what a server says, in a cause or a note
_RETRY_NS = 10_000_000  # until a client that could not come back tries again


class Crowd:
    """Opens, answers and counts. `start_ns` is when the measurement began; drops before are at 0 seconds."""

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
        self.agenda = Agenda()
        self._habits = Habits(self.engine, self.agenda, plan, read_rest=self._drain, leave=self._flap)
        self._plan = plan
        self._streams = [
            Stream(plan.payloads(channel), offset_in=self.dialect.offset if plan.may_resume else None)
            for channel in range(plan.channels)
        ]
        self._lanes: dict[tuple[int, Behaviour], Lane] = {}  # {(channel, kind): lane}
        self._handshakes = [
            Handshake(plan.channel_url(channel), subprotocol=self.dialect.subprotocol, headers=plan.headers)
            for channel in range(plan.channels)
        ]
        self._address = resolve(plan.channel_url(0))
        self._open: dict[int, Client] = {}  # {fd: client}
        publishers = [Place(-1 - channel, channel, Behaviour.PUBLISHER) for channel in plan.publishes(worker)]
        clients = [Client(place, plan) for place in (*plan.share(worker), *publishers)]
        self._recorded = [client for client in clients if client.recorded is not None]
        self._waiting = deque(client for client in clients if client.begins_at == 0)
        self.ready += len(clients) - len(self._waiting)  # the others come during the measurement
        self._opening: dict[Connection, Client] = {}

    @property
    def settled(self) -> bool:
        """Whether each client was connected or refused."""
        return all(client.came for client in (*self._opening.values(), *self._waiting))

    def open_clients(self) -> dict[Behaviour, int]:
        """{kind: open connections}."""
        return dict(Counter(client.kind for client in self._open.values()))

    def behind(self, sent: list[int]) -> int:
        """Messages that healthy clients wait for, summed over them; `sent` is the last sequence of each channel."""
        return sum(
            max(sent[client.channel] + 1 - (client.opened[1].expected or 1), 0)
            for client in self._open.values()
            if client.kind is Behaviour.HEALTHY
        )

    def start(self, start_ns: int) -> None:
        """The measurement begins: from now on clients read at their own pace."""
        self.start_ns = start_ns
        self._habits.start(list(self._open.values()), start_ns)
        for client in self._recorded:
            if client.begins_at > 0:
                self._return(client, int(client.begins_at * 1e9))
            if client.recorded is not None and client.recorded.ends is not None:
                self.agenda.at(start_ns + int(client.recorded.ends * 1e9), partial(self._part, client))

    def tick(self, now_ns: int) -> None:
        """Opens waiting connections, and does what clients are about to do."""
        while self._waiting and len(self._opening) < _OPENING_AT_ONCE:
            client = self._waiting.popleft()
            if not client.gone:
                self._begin(client)
        self.agenda.run(now_ns)

    def fates(self) -> bool:
        """Reads at the end what clients have not read that are read late, to learn their close codes.

        Returns whether there were bytes: then there may be more, and a close frame behind.
        """
        self.ending = True
        late = [client for client in self._open.values() if client.is_read_late]
        return any([self._drain(client) for client in late])  # noqa: C419 - all of them, not up to one

    def close(self) -> None:
        """Closes all sockets."""
        self.ending = True
        for client in self._open.values():
            connection, _ = client.opened
            connection.send(CLOSE, _NORMAL)
            connection.close()
        for connection in self._opening:
            connection.close()
        self._open.clear()
        self._opening.clear()
        self.engine.close()

    def _begin(self, client: Client) -> None:
        connection = Connection(
            self.engine,
            handshake=self._handshakes[client.channel],
            address=self._address,
            receive_buffer_bytes=receive_buffer(client, self._plan),
            on_open=self._opened,
            on_fail=self._failed,
        )
        self._opening[connection] = client

    def _lane(self, channel: int, kind: Behaviour) -> Lane:
        if (channel, kind) not in self._lanes:
            self._lanes[channel, kind] = Lane(
                self._streams[channel],
                self.tallies[kind],
                progress=self.progress[channel] if kind is Behaviour.HEALTHY else None,
                measured_from=self._plan.measured_from,
            )
        return self._lanes[channel, kind]

    def _opened(self, connection: Connection, rest: bytes) -> None:
        client = self._opening.pop(connection)
        lane = self._lane(client.channel, client.kind)
        client.connection, client.ended_ns = connection, 0
        client.receiver = Receiver(lane, connection.socket.recv_into, expected=client.expected)
        self._open[connection.fd] = client
        if client.kind is Behaviour.PUBLISHER:
            self.publishers[client.channel] = connection
        self._habits.begin(client)
        self._subscribe(client, connection)
        self.tallies[client.kind].returned += client.came and client.resumes
        client.came = True
        if rest:
            self._controls(connection.fd, client.receiver.feed(rest, monotonic_ns()))

    def _subscribe(self, client: Client, connection: Connection) -> None:
        """Counts a client when it comes for the first time."""
        opening = self.dialect.opening(self._plan.channel(client.channel), client.position)
        if opening is None or client.kind is Behaviour.PUBLISHER:
            self.ready += not client.came
            return
        connection.send(TEXT, opening)
        # The run waits for the answers of healthy clients only.
        self.ready += client.kind is not Behaviour.HEALTHY and not client.came

    def _failed(self, connection: Connection, reason: str) -> None:
        client = self._opening.pop(connection)
        if not client.came:
            self.failed += 1
            self.notes[reason] += 1
            return
        self.notes[f"a {client.kind} client could not come back: {reason}"] += 1
        self._return(client, _RETRY_NS)

    def _return(self, client: Client, after_ns: int = 0) -> None:
        """Has a client come back, unless the run ends."""
        if not self.ending and not client.gone:
            self.agenda.at(monotonic_ns() + after_ns, lambda _now_ns: self._waiting.append(client))

    def _part(self, client: Client, _now_ns: int) -> None:
        """A client leaves for good."""
        client.gone = True
        if client.connection is not None:
            client.connection.send(CLOSE, _NORMAL)
            self._leave(client).close()

    def _flap(self, client: Client) -> None:
        """Ends a flapping client: every other one with a close frame."""
        self.flaps += 1
        if self.flaps % 2:
            client.opened[0].send(CLOSE, _NORMAL)
        self._leave(client).close(abort=not self.flaps % 2)
        self._return(client)

    def _leave(self, client: Client) -> Connection:
        connection, receiver = client.opened
        del self._open[connection.fd]
        if client.resumes and receiver.expected:
            self._remember(client, receiver)
        receiver.close()
        client.connection = client.receiver = None
        return connection

    def _remember(self, client: Client, receiver: Receiver) -> None:
        offset = receiver.stream.offset_of(receiver.expected - 1)
        if client.position is not None and offset is not None:
            client.expected = receiver.expected
            client.position = Position(client.position.epoch, offset)

    def _drain(self, client: Client) -> bool:
        """Reads what is there; returns whether there was something. Behind it may stand why the server left."""
        (connection, receiver), some = client.opened, False
        while client.connection is connection and self.engine.read_some(connection.fd, receiver, BUFFER_BYTES):
            some = True
        return some

    def _lost(self, fd: int, cause: str) -> None:
        client = self._open.get(fd)
        if client is None:
            return
        connection = self._leave(client)
        address = connection.address
        connection.close()
        if client.kind is Behaviour.PUBLISHER:
            self.publisher_gone(client.channel)
        if self.ending and not client.is_read_late:
            return
        self.drop_counts[client.kind, cause] += 1
        if sum(self.drop_counts.values()) <= MAX_DROPS:
            at_ns = client.ended_ns or monotonic_ns()
            at_seconds = (at_ns - self.start_ns) / 1e9 if self.start_ns else 0.0
            self.drops.append(Drop(at_seconds, client.kind, cause, address))
        if client.kind is Behaviour.FLAPPING:
            self._return(client)
        elif client.resumes:
            away = self._plan.away_seconds if client.recorded is None else client.recorded.away_seconds
            self._return(client, int((away or self._plan.away_seconds).even(client.chance) * 1e9))

    def _controls(self, fd: int, controls: list[Control]) -> None:
        for control in controls:
            client = self._open.get(fd)
            if client is None:
                return
            connection, _ = client.opened
            if control.opcode == CLOSE:
                words = control.payload[2:].decode(errors="replace")[:_TEXT_CHARACTERS]
                self._lost(fd, f"{close_code(control.payload)} {words}".strip())
            elif control.opcode == PING:
                if client.kind is not Behaviour.STALLED:
                    connection.send(PONG, control.payload)
            elif control.opcode != PONG:
                self._told(client, self.dialect.read(control.payload))

    def _told(self, client: Client, answer: Answer) -> None:
        if answer.meaning is Meaning.READY:
            self._began(client, answer)
        elif answer.meaning is Meaning.GAP:
            self.tallies[client.kind].gaps_told += answer.skipped
        elif answer.meaning is Meaning.REFUSED:
            self.notes[answer.text[:_TEXT_CHARACTERS]] += 1

    def _began(self, client: Client, answer: Answer) -> None:
        """A subscription stands."""
        self.ready += client.kind is Behaviour.HEALTHY
        self.tallies[client.kind].recovered += answer.recovered
        client.position = answer.position

"""A replay that is recorded: what a server's trace of the scene would say."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from fanwise.broadcaster.client import Client, State
from fanwise.core import trace
from fanwise.core.publication import Position
from fanwise.tuning.outcome import Candidate
from fanwise.tuning.replay import Replay
from fanwise.tuning.scene import Reader, Scene, Sent


class RecordedReplay(Replay):
    """Records in the order of `broadcaster/recorder`. Times count from the replay's begin."""

    def __init__(self, scene: Scene, candidate: Candidate, *, seed: int = 1) -> None:
        super().__init__(scene, candidate, seed=seed)
        self.records: list[trace.Record] = []
        self.header = trace.Header("0", 0.0, {"audit_seconds": 0.25})
        self._begun = self._loop.time()
        self._numbers: dict[Client, int] = {}
        self._new = count(1)
        self._states: dict[Client, State] = {}
        self._latest: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        for name in sorted({name for reader in scene.readers for name in reader.channels}):
            self._channels[name] = len(self._channels) + 1
            self.records.append(trace.ChannelSeen(0.0, self._channels[name], name, 0, scene.fast_clients))

    @property
    def at(self) -> float:
        return self._loop.time() - self._begun

    def _publish(self, sent: Sent) -> None:
        at = min(sent.time - self._begun, self.at)
        self.records.append(trace.Published(at, self._channels[sent.channel], sent.size, trace.key_number(sent.key)))
        super()._publish(sent)

    def _connect(self, reader: Reader, positions: Mapping[str, Position]) -> None:
        super()._connect(reader, positions)
        client = list(self._by_client)[-1]
        if reader.name:
            number = self._numbers[client] = next(self._new)
            before = self._latest.get(reader.name, 0)
            self._latest[reader.name] = number
            self.records.append(trace.Connected(self.at, number, False, before, "direct", self._scene.dialect))
            for name in reader.channels:
                self.records.append(trace.Subscribed(self.at, number, self._channels[name], bool(positions), 0, 0))

    def changed(self, client: Client) -> None:
        number, before = self._numbers.get(client), self._states.get(client, State.BEHIND)
        self._states[client] = client.state
        if number is not None:
            if client.state is State.BEHIND and before is State.READY:
                self.records.append(trace.FellBehind(self.at, number))
            elif client.state is State.READY:
                self.records.append(trace.CaughtUp(self.at, number))
            elif client.reason is not None and before in (State.READY, State.BEHIND):
                name = client.reason.name.lower()
                self.records.append(trace.Closed(self.at, number, name, client.lag, client.lag_bytes))
        super().changed(client)

    def _look(self) -> None:
        self.records.append(trace.Audited(self.at))
        for client in self._registry.behind:
            number = self._numbers.get(client)
            if number is not None:
                for channel, queue in client.subscriptions.values():
                    lags = queue.qsize(), queue.qsize_bytes(), client.sink.buffered_bytes, -1
                    place = self._channels[channel.name]
                    self.records.append(trace.Sample(self.at, number, place, client.held_up, *lags))
        super()._look()

"""The plan of a run: the numbers that all its processes share."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

from ...load.behaviour import Behaviour
from .payload import MIN_BYTES, TOKEN_BYTES, Payloads
from .recording import Message, Range, RecordedReader, Recording

CHANNEL_FIELD = "{channel}"
RESUMABLE = (Behaviour.SLOW, Behaviour.PAUSING)  # the kinds of which some come back after a drop
_TINY = (Behaviour.SLOW, Behaviour.STALLED)  # their buffers are small, so that the server notices them soon
_SMALL_BUFFER, _USUAL_BUFFER = 8192, 65_536  # bytes; Linux doubles them, and 128 KiB is where its own begin
_TOKEN_LETTERS = string.ascii_lowercase + string.digits


def new_token() -> str:
    """Returns a unique name for one channel of one run."""
    return "".join(secrets.choice(_TOKEN_LETTERS) for _ in range(TOKEN_BYTES))


_SLOW = Range(4096, 4096)
_PAUSE, _AWAKE, _AWAY, _FLAP = Range(3.0, 20.0), Range(2.0, 8.0), Range(0.5, 1.5), Range(0.2, 1.0)


class Place(NamedTuple):
    """A client of a run: its number, channel and kind, and whether it comes back after a drop and resumes.

    Attributes:
        recorded: How a replayed client reads; None for all others.
    """

    number: int
    channel: int
    kind: Behaviour
    resumes: bool = False
    recorded: RecordedReader | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run. Clients are numbered; number i listens to channel i modulo channels.

    Attributes:
        slow: Clients that read `slow_bytes_per_second`, each a rate of its own out of the range.
        pausing: Clients that read nothing for `pause_seconds`, then read for `awake_seconds`, again and again.
        resuming: Of the slow and pausing clients, those that come back `away_seconds` after a drop, and resume.
        rate: Messages a second over all channels, at fixed times; None: none.
        burst_messages: Messages at once, over all channels, each `every_seconds`; 0: none.
        recording: Played instead of rates, bursts and kinds: beside healthy clients there are only its readers.
        keys: Message i has key i modulo keys; 0: messages have no key.
        window_messages: When saturating: messages published and not yet at the last healthy client, per channel.
        warmup_seconds: Bound on the delivery of the warm-up's messages.
        drain_seconds: Bound on the delivery of the last messages; also the longest standstill.
        flap_seconds: The time that a flapping client's connection lasts.
        receive_buffer_bytes: What the kernel is asked to hold for a client that reads late; None: by its kind.
        seed: Decides when clients pause, how fast slow ones read, and when flapping and resuming ones go and come.
        worker_cpus: Where worker 0, 1, ... is pinned, in turn; empty for nowhere.
        headers: Of each handshake, each "Name: value".
        server_pid: The server's process; its children count as well. None where unknown.
    """

    url: str
    dialect: str = "plain"
    channels: int = 1
    clients: int = 1000
    slow: int = 0
    stalled: int = 0
    flapping: int = 0
    pausing: int = 0
    resuming: int = 0
    size_bytes: int = 128
    keys: int = 0
    rate: float | None = None
    burst_messages: int = 0
    every_seconds: float = 2.0
    recording: Recording | None = None
    window_messages: int = 64
    duration_seconds: float = 5.0
    warmup_messages: int = 5
    warmup_seconds: float = 10.0
    drain_seconds: float = 5.0
    slow_bytes_per_second: Range = _SLOW
    pause_seconds: Range = _PAUSE
    awake_seconds: Range = _AWAKE
    away_seconds: Range = _AWAY
    flap_seconds: Range = _FLAP
    receive_buffer_bytes: int | None = None
    seed: int = 0
    workers: int = 1
    server_pid: int | None = None
    worker_cpus: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    token: str = field(default_factory=new_token)

    @property
    def saturates(self) -> bool:
        """Whether the window, and no clock, decides when a message is published."""
        return self.rate is None and not self.burst_messages and self.recording is None

    @property
    def may_resume(self) -> bool:
        """Whether a client may come back and resume."""
        return bool(self.resuming) or self.recording is not None

    @property
    def measured_from(self) -> int:
        """The first sequence that counts."""
        return self.warmup_messages + 1

    def buffer_bytes(self, kind: Behaviour) -> int:
        """Returns what the kernel is asked to hold for a client of a kind that is read late."""
        return self.receive_buffer_bytes or (_SMALL_BUFFER if kind in _TINY else _USUAL_BUFFER)

    def channel(self, index: int) -> str:
        """The name of a channel."""
        return f"bench-{index}"

    def channel_token(self, index: int) -> str:
        """Returns the mark of a channel's messages: the run's token plus the channel's number."""
        number = int(self.token, 36) + index
        digits = []
        for _ in range(TOKEN_BYTES):
            number, digit = divmod(number, 36)
            digits.append((string.digits + string.ascii_lowercase)[digit])
        return "".join(reversed(digits))

    def channel_url(self, index: int) -> SplitResult:
        """Returns the URL of a channel's clients."""
        return urlsplit(self.url.replace(CHANNEL_FIELD, quote(self.channel(index), safe="")))

    def payloads(self, channel: int) -> Payloads:
        """Returns what makes and checks the messages of a channel."""
        sizes = {
            sequence: max(message.size_bytes, MIN_BYTES)
            for sequence, message in enumerate(self._recorded(channel), start=self.measured_from)
        }
        return Payloads(self.channel_token(channel), size_bytes=self.size_bytes, sizes=sizes)

    def key_of(self, channel: int, sequence: int) -> str | None:
        """Returns the key of a message."""
        place, recorded = sequence - self.measured_from, self._recorded(channel)
        if 0 <= place < len(recorded):
            return recorded[place].key
        return f"k{sequence % self.keys}" if self.keys else None

    def _recorded(self, channel: int) -> tuple[Message, ...]:
        return () if self.recording is None else self.recording.channels[channel]

    def places(self) -> list[Place]:
        """Returns all clients; the unhealthy ones are spread evenly, and so are those of them that resume."""
        odd = self._odd()
        kinds = [Behaviour.HEALTHY] * self.clients
        for place, kind in enumerate(odd):
            kinds[(2 * place + 1) * self.clients // (2 * len(odd))] = kind
        readers = iter(() if self.recording is None else self.recording.readers)
        able, places = 0, []
        for number, kind in enumerate(kinds):
            resumes = False
            if kind is Behaviour.REPLAYED:
                reader = next(readers)
                places.append(Place(number, reader.channel, kind, reader.away_seconds is not None, reader))
                continue
            if kind in RESUMABLE:
                resumes = _is_picked(able, self.resuming, self.slow + self.pausing)
                able += 1
            places.append(Place(number, number % self.channels, kind, resumes))
        return places

    def _odd(self) -> list[Behaviour]:
        """Returns the kind of each client that is not healthy."""
        counts = (
            (Behaviour.SLOW, self.slow),
            (Behaviour.STALLED, self.stalled),
            (Behaviour.FLAPPING, self.flapping),
            (Behaviour.PAUSING, self.pausing),
            (Behaviour.REPLAYED, 0 if self.recording is None else len(self.recording.readers)),
        )
        return [kind for kind, count in counts for _ in range(count)]

    def share(self, worker: int) -> list[Place]:
        """Returns the clients of one worker: whole rounds of the channels go to the workers in turn."""
        return [place for place in self.places() if place.number // self.channels % self.workers == worker]

    def publishes(self, worker: int) -> list[int]:
        """Returns [channel] of the publishers that one worker runs."""
        return [channel for channel in range(self.channels) if channel % self.workers == worker]


def _is_picked(index: int, picked: int, total: int) -> bool:
    """Returns whether an item is among `picked` of `total` that are spread evenly."""
    return (index + 1) * picked // total > index * picked // total

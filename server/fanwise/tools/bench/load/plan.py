"""The plan of a run: the numbers that all its processes share."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, urlsplit

from ...load.behaviour import Behaviour
from .payload import TOKEN_BYTES

CHANNEL_FIELD = "{channel}"
_TOKEN_LETTERS = string.ascii_lowercase + string.digits


def new_token() -> str:
    """Returns a unique name for one channel of one run."""
    return "".join(secrets.choice(_TOKEN_LETTERS) for _ in range(TOKEN_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run. Clients are numbered; number i listens to channel i modulo channels.

    Attributes:
        rate: Messages a second over all channels, at fixed times; None saturates.
        window_messages: When saturating: messages published and not yet at the last healthy client, per channel.
        warmup_seconds: Bound on the delivery of the warm-up's messages.
        drain_seconds: Bound on the delivery of the last messages; also the longest standstill.
        flap_seconds: The time that a flapping client's connection lasts, at least and at most.
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
    size_bytes: int = 128
    rate: float | None = None
    window_messages: int = 64
    duration_seconds: float = 5.0
    warmup_messages: int = 5
    warmup_seconds: float = 10.0
    drain_seconds: float = 5.0
    slow_bytes_per_second: int = 4096
    flap_seconds: tuple[float, float] = (0.2, 1.0)
    workers: int = 1
    server_pid: int | None = None
    worker_cpus: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    token: str = field(default_factory=new_token)

    @property
    def measured_from(self) -> int:
        """The first sequence that counts."""
        return self.warmup_messages + 1

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

    def kinds(self) -> list[Behaviour]:
        """Returns the kind of each client; the unhealthy ones are spread evenly."""
        odd = [Behaviour.SLOW] * self.slow + [Behaviour.STALLED] * self.stalled + [Behaviour.FLAPPING] * self.flapping
        kinds = [Behaviour.HEALTHY] * self.clients
        for place, kind in enumerate(odd):
            kinds[(2 * place + 1) * self.clients // (2 * len(odd))] = kind
        return kinds

    def share(self, worker: int) -> list[tuple[int, Behaviour]]:
        """[(channel, kind)] of the clients of one worker: whole rounds of the channels go to the workers in turn."""
        return [
            (number % self.channels, kind)
            for number, kind in enumerate(self.kinds())
            if number // self.channels % self.workers == worker
        ]

    def publishes(self, worker: int) -> list[int]:
        """Returns [channel] of the publishers that one worker runs."""
        return [channel for channel in range(self.channels) if channel % self.workers == worker]

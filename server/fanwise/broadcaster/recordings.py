"""The recordings of a node: the traces that are being made, and the calls that a node makes only meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..core.channel import Channel
from ..core.hub import Start
from ..core.publication import Publication
from ..errors import RecordingLimitError
from .audit import AUDIT_SECONDS, Audit
from .client import Client
from .host import ClientHost
from .publisher import Publisher
from .recorder import Recorder
from .registry import ClientRegistry

if TYPE_CHECKING:
    from .tracing.spans import Spans

MOST_RECORDINGS = 4


class Recordings:
    """Owns the invariant that a node notifies recorders exactly while there is one.

    Args:
        registry: Notified of each change of a client's state, after the recorders.
        publisher: The publications.
        audit: The looks at clients that are behind.
        settings: Returns the settings in force.

    Attributes:
        active: The recorders that have not ended.
    """

    def __init__(
        self,
        registry: ClientRegistry,
        publisher: Publisher,
        audit: Audit,
        *,
        settings: Callable[[], dict[str, int | float | str | None]],
    ) -> None:
        self.active: tuple[Recorder, ...] = ()
        self._registry = registry
        self._publisher = publisher
        self._audit = audit
        self._settings = settings
        self._host: ClientHost | None = None

    @property
    def spans(self) -> Spans | None:
        """What makes spans of publications; None: nothing does."""
        return self._publisher.spans

    def trace(self, spans: Spans, *, shares: bool) -> None:
        """Has spans made of publications: `Publisher.trace`."""
        self._publisher.trace(spans, shares=shares)

    def open(self, host: ClientHost) -> None:
        """Begins with the clients of `host`."""
        self._host = host

    def shut(self) -> None:
        """Ends all recordings."""
        for recorder in self.active:
            recorder.end("stopped")
        self._host = None

    def start(
        self, *, most_bytes: int, seconds: float | None = None, settings: Mapping[str, float] | None = None
    ) -> Recorder:
        """Starts a recording, which goes on for `seconds`, by default until the node stops.

        Its header names `settings` beside those of the node.

        Raises:
            RecordingLimitError: There are four recordings already.
            NotRunningError: The broadcaster was not started.
        """
        loop = self._publisher.running_loop()
        if len(self.active) >= MOST_RECORDINGS:
            raise RecordingLimitError(limit_recordings=MOST_RECORDINGS)
        named = {**self._settings(), **(settings or {}), "audit_seconds": AUDIT_SECONDS}
        recorder = Recorder(named, most_bytes=most_bytes, on_end=self._ended)
        if seconds is not None:
            loop.call_later(seconds, recorder.end, "asked")
        self._set((*self.active, recorder))
        return recorder

    # What the node calls.

    def subscribed(self, client: Client, start: Start, before: str) -> None:
        """A client has come onto a channel; `before` is the id that it had when it was dropped, empty if it was not."""
        for recorder in self.active:
            recorder.subscribed(client, start, before)

    def unsubscribed(self, client: Client, channel: Channel) -> None:
        """A client has left a channel."""
        for recorder in self.active:
            recorder.unsubscribed(client, channel)

    def audited(self, now: float) -> None:
        """An audit begins."""
        for recorder in self.active:
            recorder.audited(now)

    def sample(self, client: Client, now: float) -> None:
        """An audit looks at a client that is behind."""
        for recorder in self.active:
            recorder.sample(client, now)

    def _published(self, channel: Channel, publication: Publication) -> None:
        for recorder in self.active:
            recorder.published(channel, publication)

    def _changed(self, client: Client) -> None:
        for recorder in self.active:
            recorder.changed(client)
        self._registry.changed(client)

    def _ended(self, ended: Recorder) -> None:
        self._set(tuple(recorder for recorder in self.active if recorder is not ended))

    def _set(self, active: tuple[Recorder, ...]) -> None:
        self.active = active
        self._publisher.record(self._published if active else None)
        self._audit.witness = self if active else None
        if self._host is not None:
            self._host.changed = self._changed if active else self._registry.changed

"""The announcer: who has come to a channel and gone, in batches, for the clients that watch.

A batch goes out a tenth of a second after its first change, and later where many clients watch: so a second of changes
costs at most a few writes for each of them. A batch that would be too large is one message, which says only how many
users there are. A client that does not read is sent no batch, and is told so when it reads again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..core.presence import Roster, gap_text
from .client import Client
from .turns import SharedTurn

BETWEEN_SECONDS: Final = 0.1
_WATCHER_SECONDS: Final = 0.00005  # more between two batches for each watcher: what telling it takes, six times over
_RETRY_SECONDS: Final = 1.0  # between two looks at watchers that do not read
BATCH_BYTES: Final = 16_384  # for one client
_LEAST_BYTES: Final = 1_024
_ALL_BYTES: Final = 33_554_432  # for all watchers of a channel


class Announcer:
    """Owns the invariant that a channel with something to tell, and somebody to tell it to, has its time.

    Args:
        rosters: {channel: its roster}.
        failed: Notified of a client to which nothing can be sent, and of the error.
    """

    def __init__(self, rosters: Mapping[str, Roster], failed: Callable[[Client, Exception], None]) -> None:
        self._rosters = rosters
        self._failed = failed
        self._due: dict[str, float] = {}  # {channel: when it is told, on the loop's clock}
        self._task: asyncio.Task[None] | None = None

    def schedule(self, channel: str, roster: Roster) -> None:
        """Has the watchers of `channel` told in time. O(1)."""
        if channel not in self._due:
            self._after(channel, BETWEEN_SECONDS + _WATCHER_SECONDS * len(roster.watchers))

    def stop(self) -> None:
        """Tells nobody anything more."""
        self._due.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _after(self, channel: str, seconds: float) -> None:
        self._due[channel] = asyncio.get_running_loop().time() + seconds
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="fanwise presence")

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        while self._due:
            await asyncio.sleep(BETWEEN_SECONDS)
            now, turn = clock(), SharedTurn()
            for channel, at in list(self._due.items()):
                if at <= now:
                    del self._due[channel]
                    await self._tell(channel, turn)
                await turn.give_way()
        self._task = None

    async def _tell(self, channel: str, turn: SharedTurn) -> None:
        """Tells the watchers of a channel what has changed. Holds the loop for 1 ms at a time."""
        roster = self._rosters.get(channel)
        if roster is None or not roster.watchers:
            return
        most_bytes = min(BATCH_BYTES, max(_LEAST_BYTES, _ALL_BYTES // len(roster.watchers)))
        texts = roster.take(channel, most_bytes=most_bytes) if roster.changed else []
        gap = [gap_text(channel, roster.users)]
        batch, missed = _Batch(texts), _Batch(gap)
        for client in roster.watchers:
            assert isinstance(client, Client)
            late = client in roster.missed
            if (texts or late) and client in roster.watchers:
                self._send(missed if late else batch, client, roster)
            await turn.give_way()
        if roster.missed and channel not in self._due:
            self._after(channel, _RETRY_SECONDS)

    def _send(self, batch: _Batch, client: Client, roster: Roster) -> None:
        try:
            given = batch.send(client)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this client and not the others' news
            roster.unwatch(client)
            self._failed(client, error)
            return
        if given:
            roster.missed.discard(client)
        else:
            roster.missed.add(client)


class _Batch:
    """Messages, framed once for all clients."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts
        self._framed: dict[Callable[[bytes], bytes], bytes] = {}  # {what makes frames: all of them}

    def send(self, client: Client) -> bool:
        """Sends the messages to a client, unless something else waits for it; returns whether they were sent."""
        outbox = client.outbox
        if client.held_up or outbox.pending:
            return False
        if outbox.direct is None:
            for text in self._texts:
                client.answer(text)
            return True
        frame = outbox.dialect.frame
        data = self._framed.get(frame)
        if data is None:
            data = self._framed[frame] = b"".join([frame(text) for text in self._texts])
        outbox.direct.write(data)
        return True

"""Traffic: sizes and rates of publications, for each channel and each quarter of a second in which there were some."""

from __future__ import annotations

from ..core.channel import Channel
from ..core.hub import Hub
from .turns import in_turns

_LEAST_SECONDS = 0.001


class Traffic:
    """Owns the invariant that each publication is counted in one audit, with the average size of those since the last.

    Args:
        hub: The channels.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._looked_at: float | None = None

    async def look(self, now: float) -> None:
        """Counts what was published since the last look. O(channels published to), in turns of the event loop."""
        before, self._looked_at = self._looked_at, now
        seconds = max(now - before, _LEAST_SECONDS) if before is not None else None
        tally = self._hub.tally

        def count(channel: Channel) -> None:
            log = channel.log
            messages, size_bytes = log.head - channel.counted, log.end - channel.counted_end
            if messages:
                channel.counted, channel.counted_end = log.head, log.end
                tally.message_bytes.observe(size_bytes / messages, messages)
                if seconds is not None:
                    tally.channel_rate.observe(messages / seconds)
                    channel.most_per_second = max(channel.most_per_second, messages / seconds)

        await in_turns(count, self._hub.retention.grown)

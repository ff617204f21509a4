"""What one node counts of its backplane, since the start."""

from __future__ import annotations

from typing import Final

from ..core.counters import Histogram

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Counts:
    """Counters of one node.

    Attributes:
        received: Publications that arrived.
        skipped: Those of channels that were not open here, or that were known.
        published: Publications of this node that the engine has acknowledged.
        refused: Publications of this node that were not published.
        unconfirmed: Publications of this node that perhaps were published.
        turns: Changes to a new generation of the engine's data.
        holes: Ranges of frames that the engine had no more.
        deaf: Checks that have found frames which were not pushed.
        links: Connections that were verified.
        publish: From handing in a publication to its position, in seconds: that of the oldest one of its frame.
        delay: From the engine's clock to the arrival of a frame, in seconds, once per publication. Clocks of two hosts
            differ.
    """

    __slots__ = (
        "deaf",
        "delay",
        "holes",
        "links",
        "publish",
        "published",
        "received",
        "refused",
        "skipped",
        "turns",
        "unconfirmed",
    )

    def __init__(self) -> None:
        self.received = self.skipped = 0
        self.published = self.refused = self.unconfirmed = 0
        self.turns = self.holes = self.deaf = self.links = 0
        self.publish = Histogram(_SECONDS)
        self.delay = Histogram(_SECONDS)

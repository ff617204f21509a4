"""A client as its user sees it: what it hears goes into the record."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fanwise.core.publication import Position

from .record import Began, Heard, Record, Told


class Reader:
    """One client of one channel, over as many connections as it takes.

    Attributes:
        position: The position from which its next connection goes on; None before the first.
        bodies: What it has heard.
        ended: Whether the connection was ended by the other side.
    """

    def __init__(self, name: str, channel: str, record: Record) -> None:
        self.name = name
        self.channel = channel
        self.position: Position | None = None
        self.bodies: set[str] = set()
        self.ended = asyncio.Event()
        self._record = record
        self._epoch = ""  # that of the stream on this connection
        self._asked: Position | None = None
        self._worker = ""

    def connecting(self, worker: str) -> Position | None:
        """A connection is about to begin: returns where it goes on."""
        self.ended.clear()
        self._worker, self._asked = worker, self.position
        return self.position

    def hear(self, message: dict[str, Any]) -> None:
        """Takes a message of the JSON dialect. The position stays until something comes in another epoch."""
        now, op = time.monotonic(), message["op"]
        if op == "subscribed":
            begin = Position(message["epoch"], message["offset"])
            entry = Began(now, self.name, self.channel, self._worker, begin, self._asked, message["recovered"])
            self._record.add(entry)
            self._epoch = begin.epoch
            if self.position is None:
                self.position = begin
        elif op == "message":
            self.position = Position(self._epoch, message["offset"])
            self.bodies.add(message["data"])
            self._record.add(Heard(now, self.name, self.channel, self.position, message["data"]))
        elif op == "gap":
            self._epoch = message["epoch"]
            first, last = message["from"], message["to"]
            self._record.add(Told(now, self.name, self.channel, self._epoch, first, last, message["reason"]))
            self.position = Position(self._epoch, last)

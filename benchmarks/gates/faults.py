"""Changes that slow the hot path down, planted in a copy to see the gates catch them: the guard is guarded.

Each is a way in which such code does get slower, found in other servers or easily written. They are held to the code
as it is: when the hot path changes, a fault that cannot be planted any more fails its test and has to follow.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Edit(NamedTuple):
    """What stands once in a file of `server/fanwise/`, and what takes its place."""

    file: str
    old: str
    new: str


class Fault(NamedTuple):
    """A planted change.

    Attributes:
        name: What reports call it.
        edits: What it changes.
        seen_in: A scenario that takes more instructions with it, by more than the tolerance.
        slower: Whether that scenario takes a fifth more time, too, so that the A/B gate has to see it.
    """

    name: str
    edits: tuple[Edit, ...]
    seen_in: str
    slower: bool = True

    def __str__(self) -> str:
        return self.name


class CountedFault(NamedTuple):
    """A planted change that a part of the exact gate has to catch.

    Attributes:
        name: What reports call it.
        edits: What it changes.
        part: The part, of `exact.__main__.PARTS`.
        figure: One of the figures that grow.
    """

    name: str
    edits: tuple[Edit, ...]
    part: str
    figure: str

    def __str__(self) -> str:
        return self.name


class FaultError(LookupError):
    """A fault that does not fit the code any more."""

    def __init__(self, edit: Edit, found: int) -> None:
        super().__init__(edit, found)
        self.edit = edit
        self.found = found

    def __str__(self) -> str:
        return f"{self.edit.file} has {self.found} times, not once:\n{self.edit.old}"


def plant(fault: Fault | CountedFault, root: Path) -> None:
    """Changes the copy in `root`.

    Raises:
        FaultError: The code is not what the fault was written for.
    """
    for file, old, new in fault.edits:
        path = root / "server" / "fanwise" / file
        text = path.read_text()
        if text.count(old) != 1:
            raise FaultError(Edit(file, old, new), text.count(old))
        path.write_text(text.replace(old, new))


_WRITES = "for fd, taken in self._write_to_all(fds, part.data):"
_JOIN = 'return b"".join([publication.encoded(encoding) for publication in publications])'
_SCHEDULED = "        self._scheduled = False\n        begin = self._clock()\n"

FAULTS = (
    Fault(
        "encoding per client",
        (
            Edit(
                "broadcaster/sweep.py",
                _WRITES,
                "batch = channel.log.read(part.before, max_bytes=1 << 40, until=part.after)\n"
                "        for fd, taken in [\n"
                "            short for fd in fds for short in "
                'self._write_to_all((fd,), b"".join([group._encoding(one) for one in batch]))\n'
                "        ]:",
            ),
        ),
        "sweep-1-to-1000",
    ),
    Fault(
        "an await in the sweep",
        (
            Edit(
                "broadcaster/sweep.py",
                _SCHEDULED,
                "        self._task = self._loop.create_task(self._run_later())\n\n"
                "    async def _run_later(self) -> None:\n"
                "        await asyncio.sleep(0)\n" + _SCHEDULED,
            ),
        ),
        "publish-and-turn",
    ),
    Fault(
        "an extra hop before the sweep",
        (
            Edit(
                "broadcaster/sweep.py",
                _SCHEDULED,
                "        self._loop.call_soon(self._run_later)\n\n    def _run_later(self) -> None:\n" + _SCHEDULED,
            ),
        ),
        "publish-and-turn",
    ),
    Fault(
        "an O(n) membership test in publish",
        (
            Edit(
                "core/hub.py",
                "        if not channel.queues:\n            channel.mark_swept(publication.offset)",
                "        if channel.log not in [queue.log for queue in channel.queues]:\n"
                "            channel.mark_swept(publication.offset)",
            ),
        ),
        "publish",
    ),
    Fault(
        "a log line per delivery",
        (
            Edit("broadcaster/sweep.py", "import asyncio\nimport math", "import asyncio\nimport logging\nimport math"),
            Edit(
                "broadcaster/sweep.py",
                "BROKEN, TIMED_OUT =",
                'logger = logging.getLogger("fanwise")\nBROKEN, TIMED_OUT =',
            ),
            Edit(
                "broadcaster/sweep.py",
                "        if taken != size:",
                '        logger.debug("%d bytes to %d", taken, fd)\n        if taken != size:',
            ),
        ),
        "sweep-1-to-1000",
    ),
    Fault(
        "a dict copy per sweep",
        (Edit("broadcaster/sweep.py", _WRITES, "for fd, taken in self._write_to_all(dict.fromkeys(fds), part.data):"),),
        "sweep-1-to-1000",
        slower=False,
    ),
    Fault(
        "a second join per client",
        (
            Edit(
                "broadcaster/sweep.py",
                _WRITES,
                "batch = channel.log.read(part.before, max_bytes=1 << 40, until=part.after)\n"
                "        for fd, taken in [\n"
                "            short for fd in fds for short in "
                'self._write_to_all((fd,), b"".join([one.encoded(group._encoding) for one in batch]))\n'
                "        ]:",
            ),
        ),
        "sweep-64-to-100",
    ),
    Fault(
        "slicing byte by byte",
        (
            Edit(
                "core/encoding.py",
                _JOIN,
                "return bytes([byte for publication in publications for byte in publication.encoded(encoding)])",
            ),
        ),
        "slice-and-join",
    ),
    Fault(
        "compression per cohort",
        (
            Edit(
                "core/publication.py",
                "        if self._encoding is encoding:\n",
                "        if hasattr(encoding, 'slice_bytes'):\n"
                "            return encoding(self)\n"
                "        if self._encoding is encoding:\n",
            ),
            Edit(
                "core/group.py",
                "if self._slice.before != cursor or not cursor < self._slice.after <= until:",
                "if True:",
            ),
        ),
        "sweep-json-1k-deflated",
        slower=False,
    ),
    Fault(
        "10 % more work in the sweep",
        (Edit("broadcaster/sweep.py", "        if taken != size:", "        if taken != len(data):"),),
        "sweep-1-to-1000",
        slower=False,
    ),
    Fault(
        "a frame that is read text by text",
        (Edit("backplane/frames.py", "if latest == other:", "if latest is other:"),),
        "receive-one-channel",
    ),
)

COUNTED_FAULTS = (
    CountedFault(
        "1 KB per connection",
        (Edit("broadcaster/client.py", "self.address = address\n", 'self.address = address + " " * 1024\n'),),
        "memory",
        "bytes per WebSocket",
    ),
    CountedFault(
        "a dict per connection",
        (
            Edit(
                "transport/socket_sink.py",
                "        self.taken = 0\n",
                '        self.taken = 0\n        self.seen = {"": 0}\n',
            ),
            Edit("transport/socket_sink.py", '        "place",\n', '        "place",\n        "seen",\n'),
        ),
        "memory",
        "bytes per event stream",
    ),
    CountedFault(
        "two writes in place of one",
        (
            Edit(
                "broadcaster/sweep.py",
                "taken = write(fd, data)",
                "taken = write(fd, data[:2]) + write(fd, data[2:])",
            ),
        ),
        "calls",
        "to-websockets: writes",
    ),
    CountedFault(
        "a look at each socket before it is written to",
        (
            Edit(
                "broadcaster/sweep.py",
                "            taken = write(fd, data)",
                "            os.fstat(fd)\n            taken = write(fd, data)",
            ),
        ),
        "calls",
        "to-event-streams: calls",
    ),
    CountedFault(
        "a sweep by a timer",
        (
            Edit(
                "broadcaster/sweep.py",
                "                self._loop.call_soon(self._run)\n\n    def is_due",
                "                self._loop.call_later(0.001, self._run)\n\n    def is_due",
            ),
        ),
        "latency",
        "a publication to 1 client: ms",
    ),
    CountedFault(
        "a sweep a turn later",
        (
            Edit(
                "broadcaster/sweep.py",
                "                self._loop.call_soon(self._run)\n\n    def is_due",
                "                self._loop.call_soon(self._loop.call_soon, self._run)\n\n    def is_due",
            ),
        ),
        "latency",
        "a publication to 1,000 clients: turns",
    ),
    CountedFault(
        "a second look at the loop's lag",
        (Edit("broadcaster/looplag.py", "_PERIOD_SECONDS = 0.2 ", "_PERIOD_SECONDS = 0.1 "),),
        "wakeups",
        "callbacks per idle second, nobody",
    ),
)

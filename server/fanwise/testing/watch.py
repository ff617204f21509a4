"""How late an event loop is, seen from another thread, and where in the application it is held.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import threading
import time
import traceback
from typing import Final

_BEAT_SECONDS: Final = 0.005
_LIBRARIES: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_HELD_SECONDS: Final = 0.02  # from which on it is worth saying where


class LoopWatch:
    """Watches one event loop. `start` and `stop` belong to its thread, and `look` to any.

    Attributes:
        late_seconds: The longest that the loop was late, so far.
        place: Where the loop was held then: "app.py:12 in endpoint: time.sleep(0.2)"; empty if unknown.
    """

    def __init__(self) -> None:
        self.late_seconds = 0.0
        self.place = ""
        self._beat = 0.0
        self._thread = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to beat on the running loop."""
        self._thread = threading.get_ident()
        self._beat = time.perf_counter()
        self._timer = asyncio.get_running_loop().call_later(_BEAT_SECONDS, self._on_beat)

    def stop(self) -> None:
        """Beats no more."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Notes where the loop is, if it is later than it has ever been."""
        late = time.perf_counter() - self._beat - _BEAT_SECONDS
        if late > max(self.late_seconds, _HELD_SECONDS):
            self.late_seconds = late
            self.place = _place(self._thread)

    def _on_beat(self) -> None:
        self.late_seconds = max(self.late_seconds, time.perf_counter() - self._beat - _BEAT_SECONDS)
        self.start()


def _place(thread: int) -> str:
    """Returns the innermost line of a thread that is not of a library; empty if there is none, as in an idle loop."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented, for debuggers
    stack = [] if frame is None else traceback.extract_stack(frame)
    own = [one for one in stack if not one.filename.startswith((*_LIBRARIES, "<"))]
    for line in own[-1:]:
        return f"{line.filename}:{line.lineno} in {line.name}: {line.line}"
    return ""

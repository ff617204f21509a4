"""How late a loop is, and where it is held."""

from __future__ import annotations

import threading

from fanwise.testing import Server
from fanwise.testing.watch import LoopWatch


def test_the_place_is_named(fanwise_server: Server) -> None:
    """The line of the application, although a library holds the loop; a loop that turns has none."""
    watch, held, go_on = LoopWatch(), threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go_on.wait()  # the line that is looked for

    fanwise_server.call(watch.start)
    watch.look()
    thread = threading.Thread(target=fanwise_server.call, args=[hold])
    thread.start()
    held.wait()
    while not watch.place:
        watch.look()
    go_on.set()
    thread.join()
    fanwise_server.call(watch.stop)
    assert watch.place.startswith(f"{__file__}:")
    assert watch.place.endswith(" in hold: go_on.wait()  # the line that is looked for")
    assert watch.late_seconds >= 0.02

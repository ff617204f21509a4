from __future__ import annotations

import os
import pty
import termios

from fanwise.tools.top.keys import Keys


def test_keys_come_at_once_and_without_an_echo() -> None:
    """Between entering and leaving; then the terminal is as it was. A terminal that has gone has no keys."""
    terminal, inside = pty.openpty()
    with os.fdopen(inside) as stream:
        before = termios.tcgetattr(stream)
        with Keys(stream) as keys:
            assert keys.wait(0.0) == ""
            os.write(terminal, b"sp")
            assert keys.wait(60) == "sp"
        assert termios.tcgetattr(stream) == before
    os.close(terminal)

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from ..support.processes import ROOT

PROGRAM = """
from fanwise.cli.interrupts import interrupt_on_signals
import time
interrupt_on_signals()
try:
    print("here", flush=True)
    while True:
        time.sleep(0.05)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ignored", [True, False], ids=["in the background of a script", "in front"])
def test_both_signals_interrupt(number: signal.Signals, ignored: bool) -> None:
    """Also where SIGINT is ignored when the process starts."""
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),  # noqa: PLW1509 - no threads here
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(number)
        assert process.stdout.read() == "interrupted\n"
        assert process.wait() == 0

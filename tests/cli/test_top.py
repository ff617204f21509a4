from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest
from websockets.sync.client import connect

from ..support.forks import Popen
from ..support.processes import ROOT, ServerProcess, clean_environ, run

SERVE = ("-m", "fanwise", "serve", "--port", "{port}")
TOP = (sys.executable, "-m", "fanwise", "top")


def top(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return run(*TOP[1:], *args, environ=environ)


def test_once_it_prints_the_numbers_of_a_real_server(server_process: Callable[..., ServerProcess]) -> None:
    """As text, with the rates of one interval; status 0."""
    server = server_process(*SERVE)
    with connect(server.url("/ws?channel=news"), proxy=None):
        done = top("--once", "--interval-seconds", "0.1", "--url", f"http://127.0.0.1:{server.port}")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"process {server.pid}" in done.stdout
    assert re.search(r"^clients +1$", done.stdout, re.MULTILINE)
    assert re.search(r"^publications/s +0$", done.stdout, re.MULTILINE)
    assert re.search(r"^news +1 ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("stop", [b"\x03", signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_on_a_terminal_it_draws_until_it_is_told_to_stop(
    server_process: Callable[..., ServerProcess], stop: bytes | signal.Signals
) -> None:
    """Then it gives the terminal back, and ends with status 0."""
    server = server_process(*SERVE)
    terminal, inside = pty.openpty()
    environ = clean_environ(TERM="xterm", COLUMNS="100", LINES="30")
    url = f"http://127.0.0.1:{server.port}"
    with Popen(
        [*TOP, "--interval-seconds", "0.1", "--url", url],
        cwd=ROOT,
        env=environ,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        preexec_fn=partial(os.login_tty, 0),
    ) as process:
        os.close(inside)
        shown = b""
        while not (b"publications/s" in shown and shown.count(b"\x1b[H") > 3):
            shown += os.read(terminal, 65_536)
        if isinstance(stop, bytes):
            os.write(terminal, stop)
        else:
            process.send_signal(stop)
        try:
            while piece := os.read(terminal, 65_536):
                shown += piece
        except OSError:  # the other end is closed
            pass
        assert process.wait() == 0
    os.close(terminal)
    assert b"\x1b[?1049h" in shown
    assert shown.rstrip().endswith(b"\x1b[?1049l")
    assert b"Traceback" not in shown


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--once", "--url", "http://127.0.0.1:1"], "nothing listens there"),
        (["--url", "ftp://h/"], "it takes a URL such as"),
        (["--url", "http://h/", "--api-key", "two words"], "visible ASCII"),
    ],
)
def test_what_cannot_be_watched_is_told_in_a_sentence(args: list[str], says: str) -> None:
    """With status 1."""
    done = top(*args)
    assert done.returncode == 1
    assert done.stderr.startswith("fanwise top: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_ends_it(server_process: Callable[..., ServerProcess]) -> None:
    """Asking again would not change it. The right one is taken from the environment."""
    server = server_process(*SERVE, FANWISE_API_KEY="correct-horse")
    url = f"http://127.0.0.1:{server.port}"
    assert "asks for its key" in top("--url", url).stderr
    assert top("--url", url, "--once", "--interval-seconds", "0.1", FANWISE_API_KEY="correct-horse").returncode == 0

"""`fanwise trace` as a user runs it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.sync.client import connect

from fanwise.core.trace import Ended, Header
from fanwise.core.trace_reader import read_trace

from ..support.processes import ServerProcess, run

SERVE = ("-m", "fanwise", "serve", "--port", "{port}")


def trace(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "fanwise", "trace", *args, environ=environ)


def test_a_trace_of_a_running_server_is_a_file(server_process: Callable[..., ServerProcess], tmp_path: Path) -> None:
    """And the server's own is another one, from its start to its end; both say what they have."""
    own, out = tmp_path / "own.trace", tmp_path / "out.trace"
    server = server_process(*SERVE, FANWISE_TRACE=str(own), FANWISE_API_KEY="correct-horse")
    url = ("--url", f"http://127.0.0.1:{server.port}")
    refused = trace(*url, "--for", "1s", "--out", str(out))
    assert (refused.returncode, "FANWISE_API_KEY" in refused.stderr) == (1, True)
    with connect(server.url("/ws?channel=news"), proxy=None):
        done = trace(*url, "--for", "300ms", "--out", str(out), FANWISE_API_KEY="correct-horse")
    assert done.returncode == 0, done.stderr
    counts = r"0 publications on \d channels, 0 times behind"
    size = r"[\d,]+ bytes, [\d,]+ a second"
    assert re.fullmatch(rf"fanwise trace: {out}: 0\.\d s, {counts}; {size}\n", done.stderr)
    header, *_, last = read_trace([out.read_bytes()])
    assert isinstance(header, Header)
    assert isinstance(last, Ended)
    assert last.reason == "asked"
    assert server.stop() == 0
    last = list(read_trace([own.read_bytes()]))[-1]
    assert isinstance(last, Ended)
    assert last.reason == "stopped"
    assert "correct-horse" not in own.read_bytes().decode("latin-1")


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (("--for", "x"), 2, "--for"),
        (("--for", "11m"), 2, "10m at most"),
        (("--out", "/nowhere/a.trace"), 2, "--out"),
        (("--url", "nothing"), 1, "--url is"),
        (("--url", "http://127.0.0.1:9", "--out", "/dev/null"), 1, "nothing listens there"),
    ],
)
def test_what_is_wrong_is_said(args: tuple[str, ...], status: int, said: str) -> None:
    """In a line, with the status of the other commands."""
    done = trace(*args)
    assert done.returncode == status
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_settings_refuse_a_file_that_cannot_be_written() -> None:
    """Before the server starts."""
    done = run("-m", "fanwise", "serve", "--trace", "/nowhere/a.trace")
    assert done.returncode == 2
    assert "FANWISE_TRACE (--trace) is '/nowhere/a.trace'" in done.stderr

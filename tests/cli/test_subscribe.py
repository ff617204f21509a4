from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from ..support.commands import Command, history, read_line, run, told
from ..support.processes import ServerProcess


def test_subscribe_prints_payloads(server: ServerProcess, start: Command) -> None:
    """One line each, as soon as it is there, from all the channels."""
    process = start("subscribe", "s/1", "s/2", "--count", "3")
    told(process, ": after ")
    told(process, ": after ")
    run(server, "publish", "s/1", "text")
    assert read_line(process) == "text\n"
    run(server, "publish", "s/2", '{"a": [1, "\u00e9"]}', "--json")
    assert read_line(process) == '{"a":[1,"\u00e9"]}\n'
    run(server, "publish", "s/1", '"a string"', "--json")
    assert read_line(process) == "a string\n"
    assert process.wait() == 0


def test_subscribe_prints_whole_messages(server: ServerProcess) -> None:
    """As JSON; binary is base64 either way."""
    assert b" 200 " in server.exchange(
        b"POST /publish/s/3?key=k HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        b"Content-Type: application/octet-stream\r\nContent-Length: 2\r\n\r\n\x00\xff"
    )
    (message,) = history(server, "s/3", 1)
    epoch = message.pop("epoch")
    assert message == {"channel": "s/3", "offset": 1, "data": "AP8=", "key": "k", "encoding": "base64"}
    run(server, "publish", "s/3", "text")
    done = run(server, "subscribe", "s/3", "--since", f"{epoch}:0", "--count", "2")
    assert done.stdout == "AP8=\ntext\n"
    assert "lacks" not in done.stderr


def test_gaps_are_told_on_the_standard_error(server: ServerProcess) -> None:
    """The payloads stay clean."""
    run(server, "publish", "s/4", "text")
    done = run(server, "subscribe", "s/4", "--since", "none:7", "--count", "1")
    assert done.stdout == "text\n"
    assert "fanwise: s/4: another log has taken its place" in done.stderr


def test_reconnects_are_told_on_the_standard_error(
    start: Command, server_process: Callable[..., ServerProcess]
) -> None:
    """And what is published after it arrives."""
    first = server_process("-m", "fanwise", "serve", "--port", "{port}", "--drain-seconds", "0.1")
    process = start("subscribe", "s/5", "--count", "1", "--url", first.url("/ws"))
    told(process, ": after ")
    first.stop()
    assert "1012" in told(process, "connection lost")
    server_process("-m", "fanwise", "serve", "--port", "{port}", port=first.port)
    told(process, "connected as")
    told(process, "another log has taken its place")
    assert run(first, "publish", "s/5", "back").returncode == 0
    assert read_line(process) == "back\n"
    assert process.wait() == 0


@pytest.mark.parametrize(("count", "status"), [([], 0), (["--count", "5"], 130)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_subscribe(start: Command, number: signal.Signals, count: list[str], status: int) -> None:
    """Ends it cleanly: with status 0, unless it was to wait for more."""
    process = start("subscribe", "s/6", *count)
    told(process, ": after ")
    process.send_signal(number)
    assert process.wait() == status
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_subscribe_into_a_closed_pipe(server: ServerProcess, start: Command) -> None:
    """It ends at the next message, without a traceback."""
    reader, writer = os.pipe()
    process = start("subscribe", "s/7", stdout=writer)
    os.close(writer)
    told(process, ": after ")
    os.close(reader)
    run(server, "publish", "s/7", "x")
    assert process.wait() == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_subscribe_to_what_is_refused(server: ServerProcess) -> None:
    """Status 1, and why."""
    done = run(server, "subscribe", "a", "--url", server.url("/nowhere"))
    assert done.returncode == 1
    assert "fanwise: the connection was refused with status" in done.stderr
    assert "Traceback" not in done.stderr

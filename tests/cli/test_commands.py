from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ..support.processes import ROOT, ServerProcess, clean_environ

Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    process = ServerProcess("-m", "fanwise", "serve", "--port", "{port}")
    yield process
    process.close()


def argv(server: ServerProcess, *args: str) -> list[str]:
    return [sys.executable, "-m", "fanwise", args[0], "--url", server.url("/ws"), *args[1:]]


def run(
    server: ServerProcess, *args: str, stdin: str | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv(server, *args),
        cwd=ROOT,
        env=clean_environ(**environ),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def start(server: ServerProcess) -> Iterator[Command]:
    """Starts commands beside the test; none of them outlives it."""
    running: list[subprocess.Popen[str]] = []

    def begin(*args: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            argv(server, *args),
            cwd=ROOT,
            env=clean_environ(),
            text=True,
            bufsize=1,
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        with process:  # closes its pipes
            process.wait()


def told(process: subprocess.Popen[str], words: str) -> str:
    """The line on the standard error that has `words`; the test's own time limit ends a wait in vain."""
    assert process.stderr is not None
    return next(line for line in process.stderr if words in line)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def history(server: ServerProcess, channel: str, number: int) -> list[dict[str, Any]]:
    """The first messages of a channel, as a subscriber from the beginning gets them."""
    done = run(server, "subscribe", channel, "--since", "none:0", "--count", str(number), "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_publish_prints_the_position(server: ServerProcess) -> None:
    """EPOCH:OFFSET, one line for each message; --quiet prints none."""
    first, second = run(server, "publish", "p/1", "hello"), run(server, "publish", "p/1", "again")
    epoch = first.stdout.partition(":")[0]
    assert (first.stdout, second.stdout) == (f"{epoch}:1\n", f"{epoch}:2\n")
    assert first.returncode == second.returncode == 0
    quiet = run(server, "publish", "p/1", '{"a":1}', "--json", "--key", "k", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert [(message["data"], message.get("key")) for message in history(server, "p/1", 3)] == [
        ("hello", None),
        ("again", None),
        ({"a": 1}, "k"),
    ]


@pytest.mark.parametrize("dash", [[], ["-"]])
def test_publish_reads_lines(server: ServerProcess, dash: list[str]) -> None:
    """In their order, however many; an empty line is an empty message."""
    channel = f"lines/{len(dash)}"
    text = [str(number) for number in range(600)] + ["", "h\u00e9"]
    done = run(server, "publish", channel, *dash, stdin="\n".join(text))
    assert done.returncode == 0
    assert [line.partition(":")[2] for line in done.stdout.splitlines()] == [str(n + 1) for n in range(602)]
    assert [message["data"] for message in history(server, channel, 602)] == text


def test_publish_answers_line_by_line(start: Command) -> None:
    """A pipe that stays open is no reason to wait."""
    process = start("publish", "p/2")
    assert process.stdin is not None
    for offset in (1, 2):
        process.stdin.write(f"{offset}\n")
        assert read_line(process).endswith(f":{offset}\n")
    process.stdin.close()
    assert process.wait() == 0


def test_publish_of_bad_input(server: ServerProcess) -> None:
    """Status 2, and the message by its number; what stood before it is published."""
    done = run(server, "publish", "p/3", "--json", stdin='1\n{"a"\n3\n')
    assert done.returncode == 2
    assert done.stdout.endswith(":1\n")
    assert "fanwise: message 2 is not JSON" in done.stderr
    assert run(server, "publish", "p/3", "end", "--quiet").returncode == 0
    assert [message["data"] for message in history(server, "p/3", 2)] == [1, "end"]


def test_publish_of_what_the_server_does_not_take(server: ServerProcess) -> None:
    """Status 1, and what the server takes."""
    done = run(server, "publish", "p/4", stdin="fits\n" + "x" * 70_000 + "\n")
    assert done.returncode == 1
    assert done.stdout.endswith(":1\n")
    assert "message 2: not published" in done.stderr
    assert "65536 are allowed" in done.stderr


def test_a_failure_ends_publish_while_the_pipe_is_silent(start: Command) -> None:
    """It does not wait for the next line to say so."""
    process = start("publish", "p/5")
    assert process.stdin is not None
    process.stdin.write("x" * 70_000 + "\n")
    assert process.wait() == 1


def test_publish_to_nobody() -> None:
    """Status 1 in time, and why."""
    done = subprocess.run(
        [sys.executable, "-m", "fanwise", "publish", "--url", "ws://127.0.0.1:1/ws", "--wait-seconds", "0.3", "a", "x"],
        cwd=ROOT,
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "fanwise: message 1: no answer from ws://127.0.0.1:1/ws within 0.3 seconds (cannot connect" in done.stderr
    assert "Traceback" not in done.stderr


def test_publish_goes_on_when_nobody_reads_its_output(server: ServerProcess, start: Command) -> None:
    """What is to be published is published."""
    reader, writer = os.pipe()
    os.close(reader)
    process = start("publish", "p/6", stdout=writer)
    os.close(writer)
    assert process.stdin is not None
    process.stdin.write("".join(f"{number}\n" for number in range(300)))
    process.stdin.close()
    assert process.wait() == 0
    assert len(history(server, "p/6", 300)) == 300


def test_an_interrupted_publish(start: Command) -> None:
    """Ends with 130 and without a traceback."""
    process = start("publish", "p/7")
    assert process.stdin is not None
    process.stdin.write("x\n")
    read_line(process)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert process.stderr is not None
    assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["publish", "a b", "x"], "channel name 'a b' is not allowed"),
        (["publish", "a", "x", "--api-key", "a b"], "API key"),
        (["publish", "a", "x", "--url", "http://127.0.0.1/"], "ws:// or wss://"),
        (["publish"], "CHANNEL"),
        (["subscribe"], "CHANNEL"),
        (["subscribe", "a", "--since", "5"], "epoch:offset"),
        (["subscribe", "a", "b", "--since", "e:5"], "--since is a position in one channel"),
        (["subscribe", "a", "--count", "0"], "--count"),
    ],
)
def test_what_makes_no_sense(server: ServerProcess, args: list[str], says: str) -> None:
    """Status 2, and what is allowed."""
    done = run(server, *args)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_publish_at_a_terminal(start: Command) -> None:
    """Nobody is left in front of a cursor that waits without a word."""
    master, slave = os.openpty()
    process = start("publish", "a", stdin=slave)
    assert process.wait() == 2
    assert "or - to read lines" in process.communicate()[1]
    os.close(master)
    os.close(slave)


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


def test_reconnects_are_told_likewise(start: Command, server_process: Callable[..., ServerProcess]) -> None:
    """And what is published after it arrives."""
    first = server_process("-m", "fanwise", "serve", "--port", "{port}", "--drain-seconds", "0.1")
    process = start("subscribe", "s/5", "--count", "1", "--url", first.url("/ws"))
    told(process, ": after ")
    first.stop()
    assert "1012" in told(process, "connection lost")
    again = subprocess.Popen(
        [sys.executable, "-m", "fanwise", "serve", "--port", str(first.port)],
        cwd=ROOT,
        env=clean_environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        told(process, "connected as")
        told(process, "another log has taken its place")
        publish = [sys.executable, "-m", "fanwise", "publish", "--url", first.url("/ws"), "s/5", "back"]
        subprocess.run(publish, cwd=ROOT, env=clean_environ(), check=True, capture_output=True, timeout=60)
        assert read_line(process) == "back\n"
        assert process.wait() == 0
    finally:
        again.terminate()
        again.wait()


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


def test_the_key_comes_from_the_environment(server_process: Callable[..., ServerProcess]) -> None:
    """The server's and the commands' variable is the same one."""
    closed = server_process("-m", "fanwise", "serve", "--port", "{port}", FANWISE_API_KEY="s3cret-key")
    without, with_key = run(closed, "publish", "a", "x"), run(closed, "publish", "a", "x", FANWISE_API_KEY="s3cret-key")
    assert (without.returncode, with_key.returncode) == (1, 0)
    assert "(unauthorised)" in without.stderr
    assert run(closed, "publish", "a", "x", "--api-key", "s3cret-key").returncode == 0


def test_publish_and_subscribe_start_without_the_settings() -> None:
    """What only `serve` needs is imported by `serve`."""
    code = (
        "import sys, fanwise.cli.main; "
        "print(*sorted({'fanwise.settings', 'fanwise.serve', 'fanwise.app'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"

from __future__ import annotations

import os
import signal

import pytest

from ..support.commands import Command, fanwise, history, read_line, run
from ..support.processes import ServerProcess


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
    done = fanwise("publish", "--url", "ws://127.0.0.1:1/ws", "--wait-seconds", "2", "a", "x")
    assert done.returncode == 1
    assert "fanwise: message 1: no answer from ws://127.0.0.1:1/ws within 2 seconds (cannot connect" in done.stderr
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


def test_publish_at_a_terminal(start: Command) -> None:
    """Nobody is left in front of a cursor that waits without a word."""
    master, slave = os.openpty()
    process = start("publish", "a", stdin=slave)
    assert process.wait() == 2
    assert "or - to read lines" in process.communicate()[1]
    os.close(master)
    os.close(slave)

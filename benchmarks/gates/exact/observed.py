"""A whole server, as users start it, that can be asked while it runs.

    python -m benchmarks.gates.exact.observed ROOT PORT [memory]

A thread reads one question a line, and answers each with one line:

- `memory`: the bytes that Python's allocators have given out (tracemalloc), after a collection;
- `hold`: collects, and turns the collector off; `garbage`: how many objects a collection finds then, and turns it on;
- `turns`: turns the loop, until what has come is done;
- `mark NAME`: looks for a file `/NAME`, which is there to be seen in a trace of the system calls.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import uvloop

import fanwise

_TURNS = 20  # of the loop, until what has come is done
_NEVER_SECONDS = 1e9


def _call_later(
    self: uvloop.Loop, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
) -> asyncio.TimerHandle:
    """Sets a timer that never comes due, unless it is due now.

    What a server does when it is time, such as a summary each second, is not counted with what is done meanwhile: on a
    machine that does much else that takes longer.
    """
    return super(uvloop.Loop, self).call_later(delay and _NEVER_SECONDS, callback, *args, context=context)


class Server:
    """The server, as the program that has started it holds it."""

    def __init__(self, port: int, process: subprocess.Popen[str], asked: IO[str], answers: IO[str]) -> None:
        self.port = port
        self._process = process
        self._asked = asked
        self._answers = answers

    def ask(self, question: str) -> str:
        """Returns the answer. Raises RuntimeError if the server has ended."""
        self._asked.write(question + "\n")
        self._asked.flush()
        answer = self._answers.readline()
        if not answer:
            raise RuntimeError(f"the server has ended with status {self._process.wait()}")
        return answer.strip()


@contextmanager
def observed(root: str, *, before: Sequence[str] = (), memory: bool = False) -> Iterator[Server]:
    """A server for as long as the context lasts; `before` is put before its command, as `strace` is."""
    program = [sys.executable, "-m", f"{__package__}.observed", root, "0", *(["memory"] if memory else [])]
    with subprocess.Popen([*before, *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline()
            if not port:
                raise RuntimeError(f"the server has ended with status {process.wait()}")
            yield Server(int(port), process, process.stdin, process.stdout)
        finally:
            process.stdin.close()  # its end
            process.wait()


def _answer(question: str) -> str:
    command, _, name = question.partition(" ")
    if command == "mark":
        return str(Path("/", name).exists())
    if command == "turns":
        return ""
    found = gc.collect()
    if command == "hold":
        gc.disable()
    if command == "garbage":
        gc.enable()
        return str(found)
    gc.collect()
    return str(tracemalloc.get_traced_memory()[0])


async def _answer_later(question: str) -> str:
    """Answers when what has come so far is done: a stream whose head was sent has not left the application yet."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    return _answer(question)


def _answer_all(loop: asyncio.AbstractEventLoop) -> None:
    for line in sys.stdin:
        question = line.strip()
        if question.startswith("mark"):  # by this thread, whose calls are not counted
            answer = _answer(question)
        else:
            answer = asyncio.run_coroutine_threadsafe(_answer_later(question), loop).result()
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()
    os._exit(0)  # no drain, and nothing that could wait


def _announce(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    threading.Thread(target=_answer_all, args=(asyncio.get_running_loop(),), daemon=True).start()


def main(root: str, port: str, *more: str) -> None:
    """Serves until the questions come to their end."""
    if not Path(fanwise.__file__).is_relative_to(root):
        raise AssertionError(f"{fanwise.__file__} is not in {root}")
    from fanwise import serve  # noqa: PLC0415 - the revision's, if the check has passed
    from fanwise.settings import Settings  # noqa: PLC0415

    server_class: Any = vars(serve)["FanwiseServer"]  # where it is defined differs between revisions

    class Announced(server_class):  # type: ignore[misc]
        """A server that says where it listens."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            assert sockets is not None
            _announce(sockets[0].getsockname()[1])

    uvloop.Loop.call_later = _call_later  # type: ignore[assignment, method-assign]
    vars(serve)["FanwiseServer"] = Announced
    if "memory" in more:
        tracemalloc.start()
    own = {"port": int(port), "log_level": "error", "log_format": "json"}
    steady = {"ping_seconds": 3600.0, "rate_limits": False, "sweep": "write"}
    serve.serve(Settings.model_validate(own | steady))


if __name__ == "__main__":
    main(*sys.argv[1:])

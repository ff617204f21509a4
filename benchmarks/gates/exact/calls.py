"""System calls per delivery: what a whole server asks of the kernel (strace), for the same work in every run.

Clients wait for each publication before the next is sent, so that nothing is joined by chance.
"""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.wire import masked

from . import peers
from .observed import Server, observed

CLIENTS = 50
PUBLICATIONS = 40
_CALL = re.compile(r"(?P<thread>\d+) +(?P<resumed><\.\.\. )?(?P<name>\w+)(?:\(| resumed>)(?P<rest>.*)")
_UNFINISHED = "<unfinished ...>"  # another thread has called meanwhile: the rest of the call has a line of its own
_DESCRIPTOR = re.compile(r"\d+")
_MARK = re.compile(r'"/mark-(?P<name>[\w-]+)"')
_WRITES = {"write", "writev", "send", "sendto", "sendmsg", "sendmmsg"}
_WAITS = {"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6"}
# What comes when it likes: of the memory allocator, of locks and timers, and what libuv gathers of epoll_ctl.
_LEFT_OUT = {
    "brk",
    "clock_gettime",
    "epoll_ctl",
    "futex",
    "getpid",
    "io_uring_enter",
    "madvise",
    "mmap",
    "mremap",
    "munmap",
    "restart_syscall",
    "sched_yield",
}
MESSAGE = b"x" * 100


def counted(trace: str) -> dict[str, Counter[str]]:
    """The system calls of each stretch between two marks, {mark at its begin: {call: times}}.

    Without those of the thread that sets the marks, those on files, and waits in which nothing came (for timers).
    """
    stretches: dict[str, Counter[str]] = {}
    calls: Counter[str] = Counter()
    files: set[str] = set()  # descriptors of files, which are read when it is time
    marking = ""
    for thread, name, rest in _whole(trace):
        mark = _MARK.search(rest)
        if mark is not None:
            marking = thread
            calls = stretches.setdefault(mark["name"], Counter())
        elif thread != marking and not _of_a_file(name, rest, files):
            calls[name] += _counts(name, rest)
    return stretches


def _whole(trace: str) -> Iterator[tuple[str, str, str]]:
    """The thread, the name, and arguments and result of each call, when it has come to its end."""
    begun: dict[str, str] = {}  # {thread: arguments of the call that it is in}
    for line in trace.splitlines():
        call = _CALL.match(line)
        if call is None:
            continue
        rest = begun.pop(call["thread"], "") + call["rest"] if call["resumed"] else call["rest"]
        if rest.endswith(_UNFINISHED):
            begun[call["thread"]] = rest.removesuffix(_UNFINISHED)
        else:
            yield call["thread"], call["name"], rest


def _of_a_file(name: str, rest: str, files: set[str]) -> bool:
    descriptor = _DESCRIPTOR.match(rest)
    if name == "openat":
        files.add(rest.rpartition("= ")[2])
        return True
    if descriptor is None or descriptor[0] not in files:
        return False
    if name == "close":
        files.discard(descriptor[0])
    return True


def _counts(name: str, rest: str) -> bool:
    if name in _LEFT_OUT:
        return False
    if name in _WAITS:
        return not rest.endswith(("= 0", "= 0 (Timeout)"))
    return name in _WRITES or "= -1 EAGAIN" not in rest  # what was tried too early depends on the peer's pace


class Work:
    """What is done while system calls are counted, in stretches that marks divide."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.times: dict[str, int] = {}  # {stretch: by how much its calls are divided}

    @contextmanager
    def stretch(self, name: str, times: int) -> Iterator[None]:
        """Counts the calls of what is done in the context."""
        self.times[name] = times
        self._server.ask("turns")  # what came before has its end
        self._server.ask(f"mark mark-{name}")
        yield
        self._server.ask("mark mark-between")

    def fan_out(self, name: str, count: int, *, others: Callable[[], socket.socket] | None = None) -> None:
        """Publications of a WebSocket to `count` clients, itself included, each when all have the one before."""
        connect = partial(peers.connect, self._server.port, f"/ws?channel={name}")
        with peers.crowd(count) as kept:
            all_ = [kept.enter_context(connect())]
            all_ += [kept.enter_context((others or connect)()) for _ in range(count - 1)]
            self._publish(all_, 0)  # the first has made buffers and what else there is to make
            with self.stretch(name, PUBLICATIONS * count):
                for number in range(1, 1 + PUBLICATIONS):
                    self._publish(all_, number)

    def _publish(self, all_: list[socket.socket], number: int) -> None:
        message = b"%05d" % number + MESSAGE
        all_[0].sendall(masked(message))
        for peer in all_:
            peers.read_until(peer, message)

    def ops(self, name: str) -> None:
        """Publications of a client of the JSON dialect, each with its answer and its delivery."""
        message = peers.op({"op": "publish", "channel": name, "data": "x" * 100, "id": "a"})
        with peers.connect(self._server.port, "/ws", subprotocol="fanwise.v1") as peer:
            peer.sendall(peers.op({"op": "subscribe", "channel": name}))
            peers.read_until(peer, b'"op":', 2)  # `welcome` and `subscribed`
            with self.stretch(name, PUBLICATIONS):
                for _ in range(PUBLICATIONS):
                    peer.sendall(message)
                    peers.read_until(peer, b'"op":', 2)

    def posts(self, name: str) -> None:
        """Publications over HTTP, on one connection, to nobody."""
        with peers.opened(self._server.port) as peer:
            peers.post(peer, f"/publish/{name}", MESSAGE)
            with self.stretch(name, PUBLICATIONS):
                for _ in range(PUBLICATIONS):
                    peers.post(peer, f"/publish/{name}", MESSAGE)

    def connections(self, name: str, connect: Callable[[], socket.socket]) -> None:
        """Connections that come, one after the other, and leave together."""
        with peers.crowd(CLIENTS) as kept, self.stretch(name, CLIENTS):
            for _ in range(CLIENTS):
                kept.enter_context(connect())

    def bursts(self, name: str, count: int) -> None:
        """Bursts of 16 publications of one client, in one write, to `count`; divided by bursts and clients."""
        with peers.crowd(count) as kept:
            all_ = [kept.enter_context(peers.connect(self._server.port, f"/ws?channel={name}")) for _ in range(count)]
            with self.stretch(name, 10 * count):
                for _ in range(10):
                    all_[0].sendall(masked(MESSAGE) * 16)
                    for peer in all_:
                        peers.read_until(peer, MESSAGE, 16)


def figures_of(stretches: dict[str, Counter[str]], times: dict[str, int]) -> dict[str, float]:
    """Calls, and those that write, for each of what was counted."""
    figures: dict[str, float] = {}
    for name, count in times.items():
        calls = stretches[name]
        figures[f"{name}: calls"] = round(calls.total() / count, 4)
        writes = sum(calls[call] for call in _WRITES)
        figures[f"{name}: writes"] = round(writes / count, 4)
    return figures


def count(root: str) -> dict[str, float]:
    """The figures of the server in `root`. Raises SystemExit where there is no strace."""
    if shutil.which("strace") is None:
        raise SystemExit("strace is not installed, and nothing else counts the system calls of a whole server.")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "trace")
        strace = ["strace", "-f", "-qq", "-s", "80", "-e", "signal=none", "-o", str(path)]
        with observed(root, before=strace) as server:
            work = Work(server)
            work.fan_out("to-1", 1)
            work.fan_out("to-websockets", CLIENTS)
            work.fan_out(
                "to-event-streams", CLIENTS, others=partial(peers.stream, server.port, "/sse/to-event-streams")
            )
            work.bursts("bursts", CLIENTS)
            work.ops("ops")
            work.posts("posts")
            work.connections("connections", partial(peers.connect, server.port, "/ws"))
            work.connections("event-streams", partial(peers.stream, server.port, "/sse/lobby"))
        return figures_of(counted(path.read_text()), work.times)

"""A server under attack: the server, its probe and the attackers, each a process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from ...support.forks import Popen
from ...support.processes import ROOT, ServerProcess, clean_environ
from .attackers import SENDING
from .probe import ECHO_SECONDS, Measured

SERVE = ("-m", "fanwise", "serve", "--port", "{port}", "--loop")
# The limit on descriptors is set before the server reads it.
_LIMITED = """
import resource
from fanwise.cli.main import main
resource.setrlimit(resource.RLIMIT_NOFILE, (%d, %d))
main(["serve", "--port", "{port}", "--loop", "%s"])
"""


class Outcome(NamedTuple):
    """What has come of an attack.

    Attributes:
        ends: {close code, HTTP status, "closed", "open" or "refused": connections}
        closed_seconds: How long the connection that was closed last has lived; None if one was left open.
        sent_bytes: By the attacker.
        received_bytes: By the attacker.
    """

    ends: dict[str, int]
    closed_seconds: float | None
    sent_bytes: int
    received_bytes: int


class Attacker:
    """A process of `attackers`, sending when the constructor returns."""

    def __init__(self, name: str, port: int, *, seconds: float = 0, connections: int = 0, again: bool = False) -> None:
        more = [*(["--again"] if again else []), f"--seconds={seconds}", f"--connections={connections}"]
        self._process = Popen(
            [sys.executable, "-m", "tests.system.hostile.attackers", name, str(port), *more],
            cwd=ROOT,
            env=clean_environ(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == SENDING
        self.pid = self._process.pid

    def wait(self) -> Outcome:
        """Returns when the attack is over."""
        out, _ = self._process.communicate()
        return Outcome(**json.loads(out))

    def stop(self) -> None:
        """Ends the attack, if it is not over."""
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


class Observer:
    """A process of `probe` or `crowd`, measuring when the constructor returns."""

    def __init__(self, module: str, *args: object) -> None:
        self._process = Popen(
            [sys.executable, "-m", f"tests.system.hostile.{module}", *map(str, args)],
            cwd=ROOT,
            env=clean_environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.hear()

    def ask(self) -> None:
        """Ends a period."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """The next line, which answers what was asked."""
        assert self._process.stdout is not None
        line = str(self._process.stdout.readline())
        if not line:
            raise RuntimeError(f"an observer ended with {self._process.wait()}")
        return line

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Probe:
    """What honest clients notice: two that measure, and a crowd that listens, each a process."""

    def __init__(
        self, server: ServerProcess, *, clients: int, messages_per_second: float, key: str, echo_seconds: float
    ) -> None:
        self._observers: list[Observer] = []
        try:
            if clients:
                crowd = (f"--clients={clients}", f"--messages-per-second={messages_per_second}", f"--key={key}")
                self._observers.append(Observer("crowd", server.port, *crowd))
            options = (f"--key={key}", f"--echo-seconds={echo_seconds}")
            self._observers.append(Observer("probe", server.port, server.pid, *options))
        except BaseException:  # also a test's end: those that were started must not outlive it; raised again
            self.close()
            raise

    def place(self, places: Places) -> None:
        for observer in self._observers:
            places.observe(observer.pid)
        places.measure(self._observers[-1].pid)

    def measure(self) -> Measured:
        """What honest clients have noticed since the last call."""
        for observer in self._observers:
            observer.ask()
        *others, measured = (json.loads(observer.hear()) for observer in self._observers)
        found = Measured(*measured)
        return found._replace(
            lost=found.lost + sum(one["lost"] for one in others),
            closed=found.closed + sum(one["closed"] for one in others),
        )

    def close(self) -> None:
        for observer in self._observers:
            observer.close()


class Places:
    """CPUs and priorities, so that the round trips which are measured wait for the server and not for a CPU.

    The first CPU is the server's. The others are of all the rest: the pair goes before the crowd, and the crowd before
    the attackers. Nothing is moved on a machine with one CPU; a priority above the usual needs CAP_SYS_NICE, and is
    left out without.
    """

    def __init__(self) -> None:
        self._server, *self._rest = sorted(os.sched_getaffinity(0))

    def serve(self, pid: int) -> None:
        self._put(pid, [self._server], 0)

    def measure(self, pid: int) -> None:
        with contextlib.suppress(PermissionError):
            self._put(pid, self._rest, -10)

    def observe(self, pid: int) -> None:
        self._put(pid, self._rest, 0)

    def attack(self, pid: int) -> None:
        self._put(pid, self._rest, 10)

    def _put(self, pid: int, cpus: list[int], priority: int) -> None:
        if self._rest:
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), cpus)
                os.setpriority(os.PRIO_PROCESS, int(task.name), priority)


class Scene:
    """A server with its probe; `whole` starts it as a shell does, on a CPU of its own if there are two."""

    def __init__(
        self,
        loop: str,
        *,
        clients: int = 0,
        messages_per_second: float = 0,
        echo_seconds: float = ECHO_SECONDS,
        descriptors: int = 0,
        whole: bool = False,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        limited = ("-c", _LIMITED % (descriptors, descriptors, loop))
        settings: dict[str, Any] = {"FANWISE_DRAIN_SECONDS": "1", **environ}
        with contextlib.ExitStack() as stack:
            self.server = ServerProcess(*(limited if descriptors else (*SERVE, loop)), whole=whole, **settings)
            stack.callback(self.server.close)
            key = environ.get("FANWISE_API_KEY", "")
            self.probe = Probe(
                self.server,
                clients=clients,
                messages_per_second=messages_per_second,
                key=key,
                echo_seconds=echo_seconds,
            )
            stack.callback(self.probe.close)
            self._places = Places() if whole else None
            if self._places is not None:
                self._places.serve(self.server.pid)
                self.probe.place(self._places)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def attack(self, name: str, **options: Any) -> Outcome:
        """Runs an attack to its end."""
        return self.attacker(name, **options).wait()

    def attacker(self, name: str, **options: Any) -> Attacker:
        attacker = Attacker(name, self.server.port, **options)
        if self._places is not None:
            self._places.attack(attacker.pid)
        return attacker

    @contextlib.contextmanager
    def attacked(self, name: str, **options: Any) -> Iterator[None]:
        """An attack that lasts as long as the context."""
        attacker = self.attacker(name, **options)
        try:
            yield
        finally:
            attacker.stop()

    def statistics(self) -> dict[str, Any]:
        """The answer to `GET /stats`."""
        found = json.loads(self.server.get("/stats").partition(b"\r\n\r\n")[2])
        assert isinstance(found, dict)
        return found

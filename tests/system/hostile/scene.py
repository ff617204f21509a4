"""A server under attack: the server, its probe and the attackers, each a process."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from ...support.forks import Popen
from ...support.processes import ROOT, ServerProcess, clean_environ
from .attackers import SENDING
from .probe import Measured

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


class Probe:
    """A process of `probe`, measuring when the constructor returns."""

    def __init__(
        self, server: ServerProcess, *, clients: int = 0, messages_per_second: float = 0, key: str = ""
    ) -> None:
        self._process = Popen(
            [
                *(sys.executable, "-m", "tests.system.hostile.probe", str(server.port), str(server.pid)),
                *(f"--clients={clients}", f"--messages-per-second={messages_per_second}"),
                f"--key={key}",
            ],
            cwd=ROOT,
            env=clean_environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._hear()

    def measure(self) -> Measured:
        """What honest clients have noticed since the last call."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Measured(**json.loads(self._hear()))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = str(self._process.stdout.readline())
        if not line:
            raise RuntimeError(f"the probe ended with {self._process.wait()}")
        return line


class Scene:
    """A server with its probe."""

    def __init__(
        self,
        loop: str,
        *,
        clients: int = 0,
        messages_per_second: float = 0,
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
            self.probe = Probe(self.server, clients=clients, messages_per_second=messages_per_second, key=key)
            stack.callback(self.probe.close)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def attack(self, name: str, **options: Any) -> Outcome:
        """Runs an attack to its end."""
        return self.attacker(name, **options).wait()

    def attacker(self, name: str, **options: Any) -> Attacker:
        return Attacker(name, self.server.port, **options)

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

"""The backpressure check: how many bytes vanish towards a client that does not read, on a channel of its own.

Bytes in the kernels and in the server's buffers hide that a reader has stopped, and cost memory. A second client reads,
and has to get every message meanwhile.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any, Final

from ..humanize import size, span
from ..remote import UnreachableError
from .findings import Finding, fail, ok, warn
from .probe import Probe, received_bytes

MESSAGE_BYTES: Final = 16_384
LEAST_MESSAGE_BYTES: Final = 1_024  # too few smaller messages are published to fill the buffers
MOST_BYTES: Final = 64_000_000  # a server that has noticed nothing until then never will
MOST_MESSAGES: Final = 8_192  # where messages have to be small
WELL_BYTES: Final = 1_000_000  # with TCP_NOTSENT_LOWAT at 16 KiB it is 0.15 MB (`sockets.UNSENT_BYTES`)
POOR_BYTES: Final = 8_000_000  # without it, 4.3 MB, with what the kernel's autotuning gives
_CLOSE_LOOKS: Final = 64  # messages, after each of which we look; then after each sixteenth
_SPARSE_LOOKS: Final = 16
_STILL_SECONDS: Final = 0.05  # between two looks that have to agree
_SHORT_BYTES, _LONG_BYTES = 126, 65_536  # payloads from here on have a longer frame header (RFC 6455 section 5.2)
_PROXY_FIX: Final = (
    "a proxy is in between, and its socket buffers come first: bound them where clients connect (nginx: `listen ... "
    "sndbuf=64k`; HAProxy: `tune.sndbuf.client 65536`; others: net.ipv4.tcp_wmem), see docs/operations/proxies.md"
)


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one trial.

    Attributes:
        published: Messages that were published.
        noticed: Whether the server lists the silent client as behind, or has ended it.
        kernel_bytes: Bytes in the kernels of both sides then; over plain ASGI with uvicorn's buffer.
        user_bytes: Bytes in the server's own buffer.
        reader_bytes: The part of `kernel_bytes` at the reader's side; None where unknown.
        user_bytes_known: False over plain ASGI.
        received: Messages that the reading client got meanwhile.
        slowest_seconds: The reading client's longest wait for one.
        passed_on: Whether the server sees another address than the silent client has: a proxy is in between.
    """

    published: int
    noticed: bool
    kernel_bytes: int
    user_bytes: int
    reader_bytes: int | None
    user_bytes_known: bool
    received: int
    slowest_seconds: float
    passed_on: bool = False

    @property
    def hidden_bytes(self) -> int:
        """Bytes that had vanished in all."""
        return self.kernel_bytes + self.user_bytes


class Trial:
    """A trial with one reading and one silent client.

    Args:
        probe: Opens the connections.
        message_bytes: How large the messages are.

    Attributes:
        published: Messages so far.
        received: Messages that the reading client has got.
    """

    def __init__(self, probe: Probe, *, message_bytes: int) -> None:
        self._probe = probe
        self._channel = probe.private_channel()
        self._size = message_bytes
        self._frame = message_bytes + (2 if message_bytes < _SHORT_BYTES else 4 if message_bytes < _LONG_BYTES else 10)
        self.published = 0
        self.received = 0
        self._slowest_seconds = 0.0
        self._passed_on = False

    def run(self) -> Measured:
        """Publishes until the server notices, or all is lost."""
        with self._probe.websocket() as reader, self._probe.silent(self._channel) as silent:
            own = self._probe.subscribe(reader, self._channel)
            clients = self._probe.await_clients(self._channel, count=2)
            (asleep,) = clients.keys() - {own}
            port = silent.getsockname()[1]
            self._passed_on = not str(clients[asleep].get("address", "")).endswith(f":{port}")
            most = min(MOST_BYTES // self._size, MOST_MESSAGES)
            while self.published < most:
                self._publish()
                started = time.monotonic()
                self._probe.expect(reader, "message")
                self._slowest_seconds = max(self._slowest_seconds, time.monotonic() - started)
                self.received += 1
                if self.published <= _CLOSE_LOOKS or self.published % _SPARSE_LOOKS == 0:
                    seen = self._look(asleep)
                    if seen is not None:
                        return self._measured(seen, silent)
        return self._result(kernel_bytes=self.published * self._frame)

    def _publish(self) -> None:
        self._probe.remote.post(f"/publish/{self._channel}", b"." * self._size)
        self.published += 1

    def _look(self, client_id: str) -> dict[str, Any] | None:
        """Returns the silent client once it is behind and stays there; {} if it was ended; None before."""
        first = self._probe.clients(self._channel).get(client_id, {})
        if first.get("state") == "ready":
            return None
        time.sleep(_STILL_SECONDS)
        again = self._probe.clients(self._channel).get(client_id, {})
        return again if is_stuck(first, again) else None

    def _measured(self, seen: dict[str, Any], silent: socket.socket) -> Measured:
        buffered = int(seen.get("buffered_bytes", 0))
        given = (self.published - int(seen.get("lag", 0))) * self._frame
        return self._result(
            noticed=True,
            kernel_bytes=max(given - buffered, 0),
            user_bytes=buffered,
            reader_bytes=received_bytes(silent),
            user_bytes_known=seen.get("path") != "asgi",
        )

    def _result(
        self,
        *,
        kernel_bytes: int,
        noticed: bool = False,
        user_bytes: int = 0,
        reader_bytes: int | None = None,
        user_bytes_known: bool = True,
    ) -> Measured:
        return Measured(
            published=self.published,
            noticed=noticed,
            kernel_bytes=kernel_bytes,
            user_bytes=user_bytes,
            reader_bytes=reader_bytes,
            user_bytes_known=user_bytes_known,
            received=self.received,
            slowest_seconds=self._slowest_seconds,
            passed_on=self._passed_on,
        )


def is_stuck(first: dict[str, Any], again: dict[str, Any]) -> bool:
    """Returns whether a client, seen twice, is behind and took nothing meanwhile, or was ended.

    Over plain ASGI clients are behind for a moment whenever something is published.
    """
    same = all(again.get(name) == first.get(name) for name in ("state", "lag", "buffered_bytes"))
    return same and again.get("state") != "ready"


def measure(probe: Probe, *, message_bytes: int) -> Measured | Finding:
    """Runs a trial; returns a finding instead if the reading client did not get every message."""
    trial = Trial(probe, message_bytes=message_bytes)
    try:
        return trial.run()
    except UnreachableError as error:
        return starved(published=trial.published, received=trial.received, problem=str(error))


def starved(*, published: int, received: int, problem: str) -> Finding:
    """Returns the finding for a reader that gets nothing because another client does not read."""
    return fail(
        "backpressure",
        f"while one client did not read, another one got {received:,} of {published:,} messages: {problem}",
        "look at the server's log; a fan-out loop that waits for each client stops everybody like this",
    )


def judge(measured: Measured) -> Finding:
    """Checks whether the server notices in time that a client has stopped reading."""
    name, hidden = "backpressure", measured.hidden_bytes
    where = f"{size(measured.kernel_bytes)} in the kernels"
    if measured.reader_bytes is not None:
        where += f" ({size(measured.reader_bytes)} of it at the reader's side)"
    where += f", {size(measured.user_bytes)} in user space" if measured.user_bytes_known else " and in uvicorn's buffer"
    meanwhile = (
        f"meanwhile a client that reads got {measured.received:,} of {measured.published:,} messages, "
        f"the slowest in {span(measured.slowest_seconds)}"
    )
    fix = (
        "set --socket-unsent-bytes (FANWISE_SOCKET_UNSENT_BYTES) to 16384, and no --socket-send-buffer-bytes; under "
        "uvicorn it takes --ws fanwise.protocol:FanwiseProtocol"
    )
    if not measured.noticed:
        found = f"after {size(hidden)} the server had not noticed that a client does not read; {meanwhile}"
        return fail(name, found, f"{fix}, at least 0.52.1: before, it had no write flow control")
    found = f"{size(hidden)} vanish before the writer notices that a client does not read: {where}; {meanwhile}"
    if hidden <= WELL_BYTES:
        return ok(name, found)
    if measured.passed_on:
        fix = _PROXY_FIX
    return (warn if hidden <= POOR_BYTES else fail)(name, found, fix)

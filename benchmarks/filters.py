"""What filters cost: CPU time per delivery of 1,000 clients with 10 distinct filters, beside clients without one.

    python -m benchmarks.filters [--rounds N]

Each client is a UDP socket of the loopback interface, whose peer reads nothing: a system call through the kernel's
network, cheaper than TCP. The ways are measured in turns in one process. `all`: each filter lets every publication
through, beside one channel without filters. `tenth`: each lets a tenth through, beside ten channels of 100 clients,
which make the same deliveries.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from fanwise.broadcaster.sweep import Sweeper
from fanwise.core.channel import Channel
from fanwise.core.encoding import plain_frame
from fanwise.core.filters import as_filter
from fanwise.core.hub import Hub
from fanwise.core.lease import Lease
from fanwise.core.publication import Kind

from .harness import SPARE, allow_descriptors
from .ready_channel import PAYLOAD, NoMember

CLIENTS, FILTERS, PUBLICATIONS = 1_000, 10, 200
LIMIT = 1.2  # times the CPU time without filters


@contextmanager
def datagrams(count: int) -> Iterator[list[int]]:
    """Opens `count` sockets that take every write; what nobody reads is dropped by the kernel."""
    allow_descriptors(count + SPARE)
    with ExitStack() as stack:
        sink = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sink.bind(("127.0.0.1", 0))
        opened = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)]
        for one in opened:
            one.connect(sink.getsockname())
        yield [one.fileno() for one in opened]


class Crowd:
    """Ready clients on some channels, with some filters each."""

    def __init__(self, fds: Sequence[int], loop: asyncio.AbstractEventLoop, *, channels: int, filters: int) -> None:
        bounds = {"queue_messages": 1_000, "queue_bytes": 1 << 30, "history_messages": 1000, "history_bytes": 1 << 30}
        self.hub = Hub(**bounds, history_seconds=60.0, cohort_clients=128)  # type: ignore[arg-type]
        self.sweeper = Sweeper(loop, slice_bytes=262_144, sweep_seconds=1.0, tally=self.hub.tally)
        self.channels = [self.hub.channel(f"c{number}", 0.0) for number in range(channels)]
        for number, fd in enumerate(fds):
            channel = self.channels[number % channels]
            wanted = as_filter({f"t{number % filters}": "1"}) if filters else None
            queue = self.hub.subscribe(channel.name, filter=wanted, time=0.0).queue
            selection = queue.selection
            group = channel.group(plain_frame) if selection is None else channel.group_of(selection, plain_frame)
            group.join(queue, NoMember(), lease=Lease(fd))

    def deliver(self, tags: Callable[[int], dict[str, str] | None]) -> float:
        """Publishes and sweeps one after another; returns the CPU time per delivery in microseconds."""
        before, deliveries = time.process_time(), self.hub.tally.deliveries
        for number in range(PUBLICATIONS):
            channel: Channel = self.channels[number % len(self.channels)]
            self.hub.publish(channel, PAYLOAD, Kind.TEXT, 0.0, None, tags(number))
            self.sweeper.flush(channel)
        seconds = time.process_time() - before
        return seconds / (self.hub.tally.deliveries - deliveries) * 1e6


def measure(rounds: int) -> dict[str, tuple[float, float]]:
    """Returns {way: (microseconds per delivery without filters, with filters)}, medians of the rounds."""
    every = {f"t{number}": "1" for number in range(8)}
    loop = asyncio.new_event_loop()
    with datagrams(CLIENTS) as fds:
        one, ten = (Crowd(fds, loop, channels=count, filters=0) for count in (1, FILTERS))
        all_through, tenth = Crowd(fds, loop, channels=1, filters=8), Crowd(fds, loop, channels=1, filters=FILTERS)
        found: dict[str, list[tuple[float, float]]] = {"all": [], "tenth": []}
        for _ in range(rounds):
            found["all"].append((one.deliver(lambda _: every), all_through.deliver(lambda _: every)))
            found["tenth"].append(
                (ten.deliver(lambda _: None), tenth.deliver(lambda number: {f"t{number % FILTERS}": "1"}))
            )
    loop.close()
    return {
        way: (statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs))
        for way, pairs in found.items()
    }


def main() -> int:
    """Prints both ways; returns 1 if filters cost more than the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    exceeded = False
    for way, (without, with_filters) in measure(parser.parse_args().rounds).items():
        ratio = with_filters / without
        exceeded = exceeded or ratio > LIMIT
        print(  # noqa: T201 - it is what the command is for
            f"{way:6} {without:.3f} us without, {with_filters:.3f} us with filters: {ratio:.2f} (at most {LIMIT})"
        )
    return int(exceeded)


if __name__ == "__main__":
    raise SystemExit(main())

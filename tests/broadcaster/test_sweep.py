from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Collection, Iterator

import pytest
from anyio.lowlevel import checkpoint

from fanwise.broadcaster.sweep import BROKEN, Sweeper, write_to_all
from fanwise.core.channel import Channel
from fanwise.core.encoding import plain_frame
from fanwise.core.hub import Hub
from fanwise.core.lease import Lease
from fanwise.core.queue import Queue
from fanwise.core.reasons import CloseReason

from ..core.test_hub import make_hub, publish
from ..support.fakes import FakeMember

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Three connected pairs of sockets: (what the sweep writes to, its peer)."""
    made = [socket.socketpair() for _ in range(3)]
    for ours, _ in made:
        ours.setblocking(False)
    yield made
    for pair in made:
        for end in pair:
            end.close()


class Swept:
    """A hub with one channel, swept on the running loop."""

    def __init__(self, *, slice_bytes: int = 1000, step_seconds: float = 0.0, cohort_clients: int = 4) -> None:
        self.hub: Hub = make_hub(queue_messages=100)
        self.hub._cohort_clients = cohort_clients
        self.channel: Channel = self.hub.channel("lobby", time=0.0)
        self._time = 0.0
        self._step_seconds = step_seconds
        self.sweeper = Sweeper(
            asyncio.get_running_loop(),
            slice_bytes=slice_bytes,
            sweep_seconds=1.0,
            tally=self.hub.tally,
            clock=self._clock,
        )

    def _clock(self) -> float:
        self._time += self._step_seconds
        return self._time

    def join(self, fd: int | None) -> tuple[Queue, FakeMember]:
        lease = Lease(fd)
        queue, member = self.hub.subscribe(self.channel.name, time=0.0).queue, FakeMember(lease)
        self.channel.group(plain_frame).join(queue, member, lease=lease)
        return queue, member

    def publish(self, *payloads: bytes) -> None:
        for payload in payloads:
            publish(self.hub, self.channel, payload)
            self.sweeper.schedule(self.channel)


def fill(sock: socket.socket) -> None:
    """Writes until the kernel takes no more."""
    try:
        while True:
            os.write(sock.fileno(), bytes(65_536))
    except BlockingIOError:
        return


async def test_one_sweep_writes_what_was_appended_since_the_last(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    """Three publications in one turn are one write to each descriptor, in order."""
    swept = Swept()
    queues = [swept.join(ours.fileno())[0] for ours, _ in pairs]
    swept.publish(b"a", b"b", b"c")
    await checkpoint()
    assert [peer.recv(99) for _, peer in pairs] == [b"\x81\x01a\x81\x01b\x81\x01c"] * 3
    assert [queue.cursor for queue in queues] == [3] * 3
    assert swept.channel.deliveries == 9
    assert swept.channel.unswept == 0


async def test_members_without_a_descriptor_are_written_to_through_their_transport() -> None:
    """They get the same slice in the same sweep."""
    swept = Swept()
    _, member = swept.join(None)
    swept.publish(b"a", b"b")
    await checkpoint()
    assert member.calls == [("write", b"\x81\x01a\x81\x01b")]


async def test_a_full_socket_hands_back_what_it_did_not_take(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """The member is told where it stands; the others get everything and nothing waits."""
    swept = Swept()
    (full, _), (_, peer) = pairs[:2]
    fill(full)
    queue, member = swept.join(full.fileno())
    swept.join(pairs[1][0].fileno())
    swept.publish(b"a", b"b")
    await checkpoint()
    assert member.calls == [("fall_behind", queue, 0, b"")]
    assert peer.recv(99) == b"\x81\x01a\x81\x01b"
    assert swept.channel.deliveries == 2


async def test_a_broken_socket_is_reported(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """A peer that is gone harms nobody."""
    swept = Swept()
    broken, peer = pairs[0]
    peer.close()
    queue, member = swept.join(broken.fileno())
    swept.join(pairs[1][0].fileno())
    swept.publish(b"a")
    await checkpoint()
    assert member.calls == [("broken", queue, 0, CloseReason.LOST)]
    assert swept.channel.deliveries == 1
    assert pairs[1][1].recv(99) == b"\x81\x01a"


async def test_several_cohorts_are_written_in_one_call(
    pairs: list[tuple[socket.socket, socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as their slices are small; what one socket did not take is that client's alone."""
    swept = Swept(cohort_clients=1)
    calls: list[int] = []

    def write(fds: Collection[int], data: bytes) -> list[tuple[int, int]]:
        calls.append(len(fds))
        return write_to_all(fds, data)

    swept.sweeper._write_to_all, swept.sweeper._waves = write, True
    fill(pairs[1][0])
    members = [swept.join(ours.fileno()) for ours, _ in pairs]
    swept.publish(b"a")
    await checkpoint()
    assert (calls, swept.channel.deliveries) == ([3], 2)
    assert [member.calls for _, member in members] == [[], [("fall_behind", members[1][0], 0, b"")], []]
    assert [queue.cursor for queue, _ in members[::2]] == [1, 1]
    monkeypatch.setattr("fanwise.broadcaster.sweep.WAVE_BYTES", 8)
    swept.publish(b"b")
    await checkpoint()
    assert calls == [3, 2, 1]
    assert [peer.recv(99) for _, peer in pairs[::2]] == [b"\x81\x01a\x81\x01b"] * 2


async def test_the_tally_has_what_was_written(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """Deliveries, bytes, ages, and how long it took to the last socket: by the clock that publications are dated by."""
    swept = Swept(step_seconds=0.001)
    for ours, _ in pairs:
        swept.join(ours.fileno())
    swept.publish(b"a", b"bc")
    await checkpoint()
    tally = swept.hub.tally
    assert (tally.deliveries, tally.delivered_bytes) == (2 * len(pairs), 7 * len(pairs))
    assert tally.age.count == tally.deliveries
    assert tally.age.sum / tally.age.count == pytest.approx(0.002), "the second look at the clock; published at 0"
    assert tally.last_socket.count == tally.sweep.count == 1
    assert tally.sweep.sum == pytest.approx(0.002), "from the first look at the clock to the last"
    assert tally.last_socket.sum == pytest.approx(0.002)


async def test_what_a_full_socket_did_not_take_is_not_delivered(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    """Only the frame that it has begun counts, which its transport gets."""
    swept = Swept()
    full, _ = pairs[0]
    fill(full)
    swept.join(full.fileno())
    swept.publish(b"a")
    await checkpoint()
    assert (swept.hub.tally.deliveries, swept.hub.tally.delivered_bytes) == (0, 0)


async def test_a_part_that_was_taken_is_counted_in_bytes(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """`write_to_all` tells of each descriptor that did not take it all how much it took."""
    full, broken, good = (ours for ours, _ in pairs)
    fill(full)
    pairs[1][1].close()
    payload = b"x" * 5_000_000
    short = dict(write_to_all([full.fileno(), broken.fileno(), good.fileno()], payload))
    assert short[full.fileno()] == 0
    assert short[broken.fileno()] == BROKEN
    assert 0 < short[good.fileno()] < len(payload)


async def test_a_sweep_gives_the_loop_back_between_cohorts() -> None:
    """When the time is up, the rest is swept in the next turn; all end at the same cursor, each served once."""
    swept = Swept(step_seconds=2.0, cohort_clients=1)
    members = [swept.join(None)[1] for _ in range(3)]
    swept.publish(b"a")
    served = []
    for _ in range(5):
        await checkpoint()
        served.append(sum(len(member.calls) for member in members))
    assert served[:4] == [1, 2, 3, 3]
    assert [member.calls for member in members] == [[("write", b"\x81\x01a")]] * 3
    assert swept.channel.unswept == 0


async def test_what_comes_during_a_sweep_goes_with_the_next_one() -> None:
    """A long sweep has a fixed end, so that its cohorts stay together; nothing is lost or repeated."""
    swept = Swept(step_seconds=2.0, cohort_clients=1)
    members = [swept.join(None)[1] for _ in range(3)]
    swept.publish(b"a")
    await checkpoint()
    swept.publish(b"b")
    for _ in range(9):
        await checkpoint()
    expected = b"\x81\x01a\x81\x01b"
    assert [b"".join(call[1] for call in member.calls if isinstance(call[1], bytes)) for member in members] == [
        expected
    ] * 3


async def test_long_sweeps_of_one_channel_do_not_starve_another() -> None:
    """Channels take turns."""
    swept = Swept(step_seconds=2.0, cohort_clients=1)
    for _ in range(5):
        swept.join(None)
    other = swept.hub.channel("other", time=0.0)
    queue, member = swept.hub.subscribe(other.name, time=0.0).queue, FakeMember()
    other.group(plain_frame).join(queue, member, lease=Lease(None))
    swept.publish(b"a")
    publish(swept.hub, other, b"b")
    swept.sweeper.schedule(other)
    await checkpoint()
    await checkpoint()
    assert member.calls == [("write", b"\x81\x01b")]


async def test_a_large_backlog_goes_out_in_slices() -> None:
    """No write carries much more than `slice_bytes`."""
    swept = Swept(slice_bytes=2)
    _, member = swept.join(None)
    swept.publish(b"a", b"b", b"c", b"d", b"long one")
    await checkpoint()
    assert [call[1] for call in member.calls] == [
        b"\x81\x01a\x81\x01b",
        b"\x81\x01c\x81\x01d",
        b"\x81\x08long one",
    ]


async def test_flush_sweeps_here_and_now() -> None:
    """Without a turn of the loop, to the head, whatever the clock says."""
    swept = Swept(step_seconds=2.0, cohort_clients=1)
    members = [swept.join(None)[1] for _ in range(3)]
    swept.publish(b"a")
    swept.sweeper.flush(swept.channel)
    assert [len(member.calls) for member in members] == [1, 1, 1]
    await checkpoint()
    assert [len(member.calls) for member in members] == [1, 1, 1]


async def test_swept_waits_for_the_end_of_the_sweep() -> None:
    """Also when it takes several turns, and when one of those who wait is cancelled."""
    swept = Swept(step_seconds=2.0, cohort_clients=1)
    members = [swept.join(None)[1] for _ in range(3)]
    swept.publish(b"a")
    cancelled = asyncio.create_task(swept.sweeper.swept(swept.channel))
    await checkpoint()
    cancelled.cancel()
    await swept.sweeper.swept(swept.channel)
    assert [len(member.calls) for member in members] == [1, 1, 1]
    await swept.sweeper.swept(swept.channel)


async def test_sleepers_are_woken_once_for_a_sweep() -> None:
    """A client that a sweep cannot write to is woken, and sees to itself."""
    swept = Swept()
    queue = swept.hub.subscribe(swept.channel.name, time=0.0).queue
    woken: list[int] = []

    def wake() -> None:
        woken.append(queue.qsize())
        del swept.channel.sleepers[queue]

    swept.channel.sleepers[queue] = wake
    swept.publish(b"a", b"b")
    await checkpoint()
    swept.publish(b"c")
    await checkpoint()
    assert woken == [2]


async def test_in_debug_mode_a_descriptor_that_is_not_the_leased_socket_is_not_written_to(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    """It is reported, and its client let go; the others are served."""
    loop = asyncio.get_running_loop()
    reported: list[str] = []
    loop.set_exception_handler(lambda _loop, context: reported.append(context["message"]))
    loop.set_debug(True)
    try:
        swept = Swept()
    finally:
        loop.set_debug(False)
    right, wrong, _ = pairs
    members = []
    for (ours, _), identity in ((right, os.fstat(right[0].fileno()).st_ino), (wrong, 1)):
        lease = Lease(ours.fileno(), identity=identity)
        queue, member = swept.hub.subscribe(swept.channel.name, time=0.0).queue, FakeMember(lease)
        swept.channel.group(plain_frame).join(queue, member, lease=lease)
        members.append(member)
    swept.publish(b"a")
    await checkpoint()
    assert reported == [f"descriptor {wrong[0].fileno()} is not the socket that was leased"]
    assert [call[0] for call in members[1].calls] == ["broken"]
    assert members[0].calls == []
    loop.set_exception_handler(None)

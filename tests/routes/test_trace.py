"""`GET /trace`: who may have one, what bounds it, and who notices a reader that is slow."""

from __future__ import annotations

import asyncio
import socket

import pytest

from fanwise.broadcaster.node import Node
from fanwise.broadcaster.recorder import PENDING_BYTES
from fanwise.core.trace import Ended, FellBehind, Header, Published, Sample
from fanwise.core.trace_reader import read_trace
from fanwise.routes.auth.guards import Access
from fanwise.routes.router import build_router
from fanwise.routes.trace import MOST_SECONDS

from ..support.live import app_of, running, until
from .test_json_session import serving
from .test_streams import ask_and_read_nothing, buffered_bytes

pytestmark = pytest.mark.anyio

FAST = pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])


def ended(record: object) -> str:
    """Why the trace ends whose last record that is."""
    assert isinstance(record, Ended)
    return record.reason


@FAST
async def test_a_trace_is_streamed_while_it_is_recorded(fast: bool) -> None:
    """Whole, with a client whose socket takes nothing, and what its kernel holds."""
    node = Node()
    async with serving(node, fast=fast) as live:
        stuck = await live.raw("/ws?channel=a", receive_buffer=4096)
        await until(lambda: len(node) == 1)
        answering = asyncio.create_task(live.request("GET", "/trace?seconds=0.6"))
        await until(lambda: bool(node.recordings.active))
        for _ in range(200):
            await node.publish("a", b"x" * 5_000)
        answer = await answering
        assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
        records = list(read_trace([answer.body]))
        assert ended(records[-1]) == "asked"
        assert sum(isinstance(record, Published) for record in records) == 200
        if fast:  # plain ASGI leaves it to the kernel, which takes megabytes
            assert any(isinstance(record, FellBehind) for record in records)
            samples = [record for record in records if isinstance(record, Sample)]
            assert samples[-1].lag > 0
            assert samples[-1].kernel_bytes > 4096
        assert node.recordings.active == ()
        assert node._audit.answer_bytes == 0
        stuck.close()


async def test_a_trace_names_the_time_for_pongs() -> None:
    """Which a replay needs, and the node does not know."""
    async with running(app_of(build_router(Node(), pong_seconds=3.0))) as live:
        answer = await live.request("GET", "/trace?seconds=0.01")
    header = next(read_trace([answer.body]))
    assert isinstance(header, Header)
    assert header.settings["pong_seconds"] == 3.0


async def test_a_trace_asks_for_the_key_and_has_a_length() -> None:
    """As /clients does; what is wrong is said, and recorded is nothing."""
    node = Node()
    async with serving(node, access=Access(api_key="correct-horse")) as live:
        assert (await live.request("GET", "/trace?seconds=1")).code == "unauthorised"
        key = {"X-API-Key": "correct-horse"}
        for seconds in ("0", "-1", "601", "nan", "x"):
            assert (await live.request("GET", f"/trace?seconds={seconds}", headers=key)).code == "bad_request"
        assert MOST_SECONDS == 600
        evil = {**key, "Origin": "http://evil.com"}
        assert (await live.request("GET", "/trace", headers=evil)).code == "bad_origin"
        assert node.recordings.active == ()


@FAST
async def test_who_leaves_ends_the_recording(fast: bool) -> None:
    """At once: the places are few. One more than there are is refused, with the time to come back."""
    node = Node()
    async with serving(node, fast=fast) as live:
        socks = [await ask_and_read_nothing(live, "/trace?seconds=600") for _ in range(4)]
        await until(lambda: len(node.recordings.active) == 4)
        refused = await live.request("GET", "/trace?seconds=1")
        assert (refused.status, refused.code) == (503, "too_many_traces")
        assert refused.headers["retry-after"] == "5"
        for sock in socks:
            sock.close()
        await until(lambda: node.recordings.active == () and node._audit.answer_bytes == 0)


async def test_a_slow_reader_of_a_trace_costs_a_bounded_memory() -> None:
    """It holds up no publisher and no client, and its trace ends."""
    node = Node()
    async with serving(node) as live, await live.connect("/ws?channel=a") as client:
        sock = await ask_and_read_nothing(live, "/trace?seconds=600")
        await until(lambda: bool(node.recordings.active))
        (recorder,) = node.recordings.active
        for protocol in live.server.server_state.connections:  # or the kernel would take megabytes
            protocol.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        while node.recordings.active:
            for size in range(1_000):
                recorder._encoder.published(0.0, 1, size, 1 << 60)
            await asyncio.sleep(0)
            assert recorder._encoder.pending_bytes < PENDING_BYTES + 40_000
        assert recorder.end_reason == "slow"
        assert max(buffered_bytes(live)) < PENDING_BYTES + 200_000
        await node.publish("a", "on time")
        assert await client.recv() == "on time"
        sock.close()
        await until(lambda: node._audit.answer_bytes == 0)


async def test_a_server_that_stops_ends_its_traces() -> None:
    """With a record that says so."""
    node = Node()
    async with serving(node) as live:
        answering = asyncio.create_task(live.request("GET", "/trace?seconds=600"))
        await until(lambda: bool(node.recordings.active))
        node.recordings.shut()
        records = list(read_trace([(await answering).body]))
    assert ended(records[-1]) == "stopped"

from __future__ import annotations

import json
import time
from time import monotonic_ns

import pytest

from fanwise.tools.bench.load.snapshots import Drop
from fanwise.tools.bench.run.closings import placed, server_times
from fanwise.tools.load.behaviour import Behaviour

from ....support.documents import CLOSED, document
from ...test_remote import answering


def test_the_server_says_when() -> None:
    """In seconds of the measurement; its key is that of the handshakes."""
    closed = {**CLOSED, "at": time.time() - 2.0}
    with answering(200, json.dumps(document(closed_clients=[closed])).encode()) as (url, requests):
        websocket = url.replace("http", "ws", 1) + "/deep/ws?channel={channel}"
        headers = ("Authorization: Bearer correct-horse",)
        times = server_times(websocket, headers, start_ns=monotonic_ns() - 5_000_000_000)
    assert times == {CLOSED["address"]: [pytest.approx(3.0, abs=1.0)]}
    assert requests[0][1] == "/deep/stats?scope=all"
    assert requests[0][2]["Authorization"] == "Bearer correct-horse"


def test_other_servers_say_nothing() -> None:
    """Neither where there is no list, nor where nobody answers."""
    with answering(404, b"") as (url, _):
        assert server_times(url.replace("http", "ws", 1) + "/ws", (), start_ns=0) == {}
    assert server_times("ws://127.0.0.1:1/ws", (), start_ns=0) == {}


def test_drops_are_placed_when_the_server_made_them() -> None:
    """At the latest time before the client found out: an address may come again. Unknown ones stay."""
    late = Drop(9.0, Behaviour.STALLED, "4008", "127.0.0.1:5")
    again = Drop(4.0, Behaviour.STALLED, "4008", "127.0.0.1:5")
    other = Drop(1.0, Behaviour.SLOW, "reset", "127.0.0.1:6")
    times = {"127.0.0.1:5": [6.5, 2.5, 30.0]}
    assert [drop.at_seconds for drop in placed([late, again, other], times)] == [1.0, 2.5, 6.5]

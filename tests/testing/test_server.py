"""`Server`: calls on its event loop, and bursts."""

from __future__ import annotations

import threading

import pytest

from fanwise.testing import Server


def test_calls_are_the_servers(fanwise_server: Server) -> None:
    """Functions and coroutines run in its thread; what they raise is raised here."""

    async def where() -> int:
        return threading.get_ident()

    thread = fanwise_server.call(threading.get_ident)
    assert thread == fanwise_server.run(where()) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        fanwise_server.call(lambda: 1 // 0)
    assert fanwise_server.url("/x", scheme="http") == f"http://127.0.0.1:{fanwise_server.port}/x"


def test_a_burst_is_numbered(fanwise_server: Server) -> None:
    """On its channel alone; each text has its size."""
    here, elsewhere = fanwise_server.reading_client("/ws?channel=red"), fanwise_server.reading_client()
    texts = fanwise_server.burst_publisher(3, size=10, channel="red")
    assert texts == ["00000000xx", "00000001xx", "00000002xx"]
    assert here.wait_for(3) == texts
    assert elsewhere.arrivals == []

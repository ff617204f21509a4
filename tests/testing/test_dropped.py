"""`assert_dropped`: who is dropped, when and why."""

from __future__ import annotations

import pytest

from fanwise import Broadcaster
from fanwise.testing import Server, serving

from ..support.applications import blocking


@pytest.mark.broadcaster(queue_messages=100)
def test_a_stalled_client_is_dropped(fanwise_server: Server) -> None:
    """And a client that reads is not, which the failure says, with what it was allowed."""
    reading, stalled = fanwise_server.reading_client(), fanwise_server.stalled_client()
    with pytest.raises(AssertionError) as caught:
        fanwise_server.assert_dropped(within_seconds=0.01)
    assert f"{stalled} was not dropped within 0.01 s: on lobby it is up to date, by 0 publications" in str(caught.value)
    assert "overflow=disconnect, queue_messages=100, " in str(caught.value)
    texts = fanwise_server.burst_publisher(500, size=10_000)
    fanwise_server.assert_dropped(within_seconds=10, cause="slow")
    with pytest.raises(AssertionError, match=r"was dropped with cause slow \(slow: the queue.*not with stalled \("):
        fanwise_server.assert_dropped(stalled, within_seconds=10, cause="stalled")
    assert reading.wait_for(500) == texts
    with pytest.raises(AssertionError, match=rf"{reading.address} .*was not dropped"):
        fanwise_server.assert_dropped(reading, within_seconds=0.01)


def test_misuse_is_named(fanwise_server: Server) -> None:
    """Unknown causes, no clients, no broadcaster, and one that the application does not use."""
    with pytest.raises(ValueError, match="cause='slowly' is not allowed: it is one of backplane, bad_text, "):
        fanwise_server.assert_dropped(within_seconds=1, cause="slowly")
    with pytest.raises(AssertionError, match="no stalled, slow or pausing client was connected"):
        fanwise_server.assert_dropped(within_seconds=1)
    app = blocking(Broadcaster(), seconds=0)
    with serving(app) as server, pytest.raises(AssertionError, match=r"serving\(app, broadcaster=...\)"):
        server.assert_dropped(server.stalled_client(), within_seconds=1)
    with serving(app, broadcaster=Broadcaster()) as server, pytest.raises(AssertionError, match="does not know the"):
        server.assert_dropped(server.stalled_client(), within_seconds=0.01)

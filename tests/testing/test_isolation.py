"""`assert_isolated`: what delays clients is caught, and the failure says what was seen."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from fanwise import Broadcaster
from fanwise.testing import Isolation, Server, StalledClient, serving

from ..support.applications import blocking, closing, tutorial


@pytest.mark.parametrize("how", [{}, {"channel": "lobby"}], ids=["by a client", "by the broadcaster"])
def test_a_stalled_client_delays_nobody(
    stalled_client: Callable[..., StalledClient], assert_isolated: Callable[..., Isolation], how: dict[str, Any]
) -> None:
    """On Fanwise: all that was published comes."""
    stalled_client()
    seen = assert_isolated(p99_ms=5000, **how)
    assert len(seen.delays_ms) == seen.expected == 400
    assert seen.delays_ms[0] <= seen.quantile_ms(0.5) <= seen.p99_ms <= seen.delays_ms[-1]


@pytest.mark.parametrize("plain_asgi", [False, True], ids=["protocol class", "plain ASGI"])
def test_the_loop_of_the_tutorials_is_caught(plain_asgi: bool) -> None:
    """It waits for the client that does not read; without one it passes."""
    with serving(tutorial(), plain_asgi=plain_asgi) as server:
        server.assert_isolated(p99_ms=5000, publications=20)
        stalled = server.stalled_client()
        with pytest.raises(AssertionError) as caught:
            server.assert_isolated(p99_ms=5000, publications=300, per_second=1000, within_seconds=1)
        assert re.match(
            r"not isolated: (a reader got \d+ of 300 publications 1 s after the last one"
            r"|publication \d+ of 300 was not taken within \d\.\d s: TimeoutError: timed out)"
            r"\n  came:     \d+ of 600 deliveries",
            str(caught.value),
        )
        assert f"beside:   stalled {stalled.address}" in str(caught.value)
        assert "the application waits for something else, such as a client" in str(caught.value)


def test_a_held_event_loop_is_caught(broadcaster: Broadcaster) -> None:
    """The failure names the line that holds it."""
    with serving(blocking(broadcaster, seconds=0.05), broadcaster=broadcaster) as server:
        with pytest.raises(AssertionError) as caught:
            server.assert_isolated(p99_ms=50, publications=10, size=100)
        lines = str(caught.value).splitlines()
        assert lines[0].startswith(
            "not isolated: the p99 of 20 of 20 deliveries to 2 reading clients of ws://127.0.0.1:"
        )
        assert lines[0].endswith(" ms, allowed are 50 ms")
        assert "no client that misbehaves" in lines[2]
        assert "late by up to" in lines[3]
        assert lines[3].endswith("in endpoint: time.sleep(seconds)  # noqa: ASYNC251 - on purpose")


def test_a_reader_that_is_closed_is_caught() -> None:
    """With the code and the text of the server."""
    with serving(closing(4999, "not you"), broadcaster=None) as server:
        hello = ["anything"]
        with pytest.raises(AssertionError, match=r"127.0.0.1.*: the server has closed with 4999 'not you'"):
            server.assert_isolated(p99_ms=5000, publish=lambda _: None, publications=1, hello=hello)


def test_errors_of_publishing_are_raised(fanwise_server: Server) -> None:
    """Those of the broadcaster, and those of the test's own function."""
    with pytest.raises(ValueError, match="channel name 'no channel'"):
        fanwise_server.assert_isolated(p99_ms=5000, channel="no channel")
    with pytest.raises(ZeroDivisionError):
        fanwise_server.assert_isolated(p99_ms=5000, publish=lambda _: 1 // 0)
    assert fanwise_server.clients == []

"""`tuning.pings`: the keep-alive on the virtual clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fanwise.core.reasons import CloseReason

from .test_replay import play, scene


def test_a_pause_that_the_kernels_hide_ends_without_a_pong() -> None:
    """Ten bytes a second never fill the kernel, so that nothing stalls; a policy that skips lets the client stay."""
    hidden = replace(scene(15.0, rate=1, size=8), fast_clients=1)
    pings = {"ping_seconds": 3.0, "pong_seconds": 2.0}
    (drop,) = play(hidden, **pings).drops
    assert drop.reason is CloseReason.NO_PONG
    assert drop.time == pytest.approx(3.0 + 2.0 + 1.0)
    assert play(hidden, ping_seconds=0.0).drops == []
    assert play(hidden, ping_seconds=3.0, pong_seconds=14.0).drops == []
    assert play(hidden, **pings, overflow="latest").drops == []


def test_a_ping_waits_behind_what_stalls() -> None:
    """Data waits in user space in front of the ping: only the bound of the stall counts."""
    drops = play(scene(15.0), queue_messages=10_000, ping_seconds=3.0, pong_seconds=1.0, stall_seconds=9.0).drops
    assert [drop.reason for drop in drops] == [CloseReason.STALLED]

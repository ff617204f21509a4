"""`tuning.plan`: figures become a scene."""

from __future__ import annotations

import pytest

from fanwise.tuning.plan import Plan, make_scene, planned_pauses


def test_a_plan_becomes_a_scene() -> None:
    """Publications at fixed times and bursts beside them; a reader for each client that pauses or is slow."""
    plan = Plan(rate=10, size=100, clients=50, pausing=3, slow=2, burst=5, burst_seconds=2.0, keys=4, seconds=10.0)
    scene = make_scene(plan)
    assert len(scene.publications) == 100 + 25
    assert [sent.time for sent in scene.publications] == sorted(sent.time for sent in scene.publications)
    assert {sent.key for sent in scene.publications} == {"k0", "k1", "k2", "k3"}
    assert [reader.name for reader in scene.readers] == ["slow-5", "slow-15", "pausing-25", "pausing-35", "pausing-45"]
    assert (scene.clients, scene.fast_clients) == (50, 45)


def test_pauses_have_the_planned_length_and_number() -> None:
    plan = Plan(
        rate=1, size=1, clients=50, pausing=40, pause_seconds=(1.0, 3.0), between_seconds=8.0, seconds=400.0, seed=3
    )
    pauses = [seconds for seconds in planned_pauses(make_scene(plan)) if seconds > 0.999]
    assert max(pauses) <= 3.0
    assert sum(pauses) / len(pauses) == pytest.approx(2.0, abs=0.1)
    assert len(pauses) == pytest.approx(40 * 400 / 10, rel=0.1)


def test_equal_seeds_make_equal_scenes() -> None:
    plans = [Plan(rate=1, size=1, clients=9, pausing=9, seed=seed) for seed in (1, 1, 2)]
    one, same, other = (planned_pauses(make_scene(plan)) for plan in plans)
    assert one == same != other

"""`tuning.search`: which settings matter, and which values serve best."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fanwise.tuning.scene import Scene
from fanwise.tuning.search import MOST_STEPS, Search, harm

from ..support.tuned import NARROW, SCENE, found


def test_only_settings_that_change_something_matter() -> None:
    """20 messages decide about pauses of up to 3 s at 60/s; a megabyte of queue, ten seconds and an hour do not."""
    _, proposal = found()
    matters = {effect.setting for effect in proposal.effects if effect.matters}
    assert {"queue_messages", "overflow"} <= matters
    assert not matters & {"queue_bytes", "stall_seconds", "history_seconds", "close_seconds", "memory_bytes"}


def test_the_proposal_is_the_narrowest_queue_with_little_harm() -> None:
    search, proposal = found()
    widths = [search.outcome(candidate) for candidate in search.widths()]
    least = min(map(harm, widths))
    assert harm(proposal.today) >= 3
    assert harm(proposal.best) <= least * 1.1 + 1e-9
    narrower = [one for one in widths if one.candidate.queue_messages < proposal.best.candidate.queue_messages]
    assert all(harm(one) > least * 1.1 for one in narrower)


def test_of_many_readers_a_part_is_replayed() -> None:
    readers = [
        replace(SCENE.readers[0], name=f"{number}") for number in range(4 * MOST_STEPS // len(SCENE.publications))
    ]
    search = Search(Scene(publications=SCENE.publications, readers=readers, fast_clients=0, ends=1.0), NARROW)
    assert len(search.scene.readers) * len(SCENE.publications) <= MOST_STEPS
    assert search.share == pytest.approx(0.25, rel=0.1)

"""`tuning.proposal`: what to set, and how sure that is."""

from __future__ import annotations

from fanwise.core.forgiven import Bound
from fanwise.tuning.outcome import Candidate
from fanwise.tuning.plan import Plan, make_scene
from fanwise.tuning.search import Effect, Search, Wish

from ..support.tuned import found


def test_good_settings_are_left_alone() -> None:
    _, proposal = found(Candidate(queue_messages=200))
    assert proposal.changes == []
    assert proposal.best is proposal.today


def test_a_wish_for_fresh_data_bounds_the_queue() -> None:
    """With `drop_oldest` a wide queue loses least and is stalest: a bound on age makes it narrower."""
    plan = Plan(rate=60, size=500, clients=9, slow=3, bandwidth=(8e3, 20e3), seconds=8.0, room_bytes=5_000.0)
    today = Candidate(queue_messages=200, overflow="drop_oldest")
    scene = make_scene(plan)
    free = Search(scene, today)
    freshest = min(free.outcome(candidate).age(0.99) or 0.0 for candidate in free.widths())
    assert (free.outcome(today).age(0.99) or 0.0) > 1.3 * freshest
    search = Search(scene, today, wish=Wish(stale_seconds=1.1 * freshest))
    best = search.outcome(search.best([Effect("queue_messages", (), 1.0, "")]))
    assert (best.age(0.99) or 0.0) <= 1.1 * freshest
    assert best.candidate.queue_messages < 200


def test_a_proposal_says_what_it_rests_on() -> None:
    """The bound that decides now, what it forgives then, prices, and doubts about four clients and a plan."""
    _, proposal = found()
    assert proposal.forgiven.bound is Bound.MESSAGES
    assert proposal.forgiven.seconds < proposal.forgiven_then.seconds
    assert {change.setting for change in proposal.changes} >= {"queue_messages"}
    assert all(change.price for change in proposal.changes)
    doubts = " ".join(proposal.doubts)
    assert "Only 5 clients" in doubts
    assert "A plan says what is expected" in doubts
    assert (proposal.traffic.clients, proposal.traffic.readers, round(proposal.traffic.rate)) == (12, 5, 50)

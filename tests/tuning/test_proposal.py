"""`tuning.proposal`: what to set, and how sure that is."""

from __future__ import annotations

from fanwise.core.forgiven import Bound
from fanwise.tuning import report
from fanwise.tuning.outcome import Candidate
from fanwise.tuning.plan import Plan, make_scene
from fanwise.tuning.proposal import Proposal, propose
from fanwise.tuning.search import Effect, Search, Wish
from fanwise.tuning.traced import read_scene

from ..support.recorded import RecordedReplay
from ..support.tuned import found


def dropped_for_good(*, stall_seconds: float, pause_seconds: float) -> Proposal:
    """The proposal for a trace in which all clients that pause are dropped, and none comes back."""
    plan = Plan(
        rate=2, size=50_000, clients=9, pausing=4, pause_seconds=(pause_seconds, pause_seconds), between_seconds=4.0,
        away_seconds=None, seconds=1.3 * pause_seconds,
    )  # fmt: skip
    today = Candidate(stall_seconds=stall_seconds, queue_bytes=1 << 26)
    recorded = RecordedReplay(make_scene(plan), today)
    assert recorded.run().reasons == {"stalled": 4}
    traced = read_scene(recorded.header, recorded.records)
    assert (traced.censored, traced.pauses) == (4, [])
    return propose(Search(traced.scene, today), traced)


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


def test_clients_that_were_dropped_for_good_get_a_proposal() -> None:
    """Pauses whose end was never seen last as long again: bounds that reach so far, and beside them another policy."""
    proposal = dropped_for_good(stall_seconds=5.0, pause_seconds=60.0)
    assert (proposal.today.dropped, proposal.best.dropped) == (4, 0)
    assert ("stall_seconds", 20.0) in [(change.setting, change.value) for change in proposal.changes]
    assert proposal.policy is not None
    assert proposal.policy.dropped == 0
    text = "\n".join(report.lines(proposal))
    assert "FANWISE_STALL_SECONDS=20" in text
    assert "FANWISE_OVERFLOW=drop_oldest with the settings of today instead" in text
    assert "4 of 4 pauses ended unseen" in text


def test_where_no_bound_reaches_far_enough_a_policy_is_proposed_with_its_price() -> None:
    proposal = dropped_for_good(stall_seconds=60.0, pause_seconds=100.0)
    (change,) = proposal.changes
    assert (change.setting, change.value) == ("overflow", "drop_oldest")
    assert change.price.startswith("0 connections dropped, 4 now; ")
    assert "publications skipped" in change.price
    assert report.environment(proposal.changes) == ["FANWISE_OVERFLOW=drop_oldest"]

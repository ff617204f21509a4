"""`tuning.outcome`: settings, and figures of a replay."""

from __future__ import annotations

from array import array

from fanwise.core.reasons import CloseReason
from fanwise.settings import Settings
from fanwise.tuning.outcome import Candidate, Drop, Outcome


def test_a_candidate_has_the_names_and_defaults_of_the_settings() -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    ours = Candidate().as_settings()
    assert ours == {name: defaults[name] for name in ours}
    assert Candidate.of({**defaults, "queue_messages": 7}) == Candidate(queue_messages=7)


def test_differences_name_the_new_values() -> None:
    assert Candidate(queue_messages=5).differences(Candidate()) == {"queue_messages": 5}


def test_an_outcome_counts() -> None:
    """Clients that left by themselves are not dropped."""
    drops = [Drop(1.0, "a", CloseReason.SLOW, 5, 0.5), Drop(2.0, "a", CloseReason.STALLED, 5, 0.5)]
    drops.append(Drop(3.0, "b", CloseReason.LOST, 5, 0.5))
    ages = array("d", [3.0, 1.0, 2.0])
    outcome = Outcome(
        candidate=Candidate(), seconds=9.0, clients=2, readers=2, publications=9, drops=drops, skipped=3, missed=4
    )
    outcome.ages = ages
    assert (outcome.dropped, outcome.dropped_readers, outcome.lost) == (2, 1, 7)
    assert outcome.reasons == {"slow": 1, "stalled": 1, "lost": 1}
    assert [outcome.age(share) for share in (0.0, 0.5, 1.0)] == [1.0, 2.0, 3.0]

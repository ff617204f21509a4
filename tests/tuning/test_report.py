"""`tuning.report`: a proposal as text, as environment, as TOML and as JSON."""

from __future__ import annotations

import json
import tomllib

from fanwise.tuning.outcome import Candidate
from fanwise.tuning.report import document, environment, lines, toml

from ..support.tuned import found


def test_the_report_says_what_to_set_and_what_it_costs() -> None:
    _, proposal = found()
    width = proposal.best.candidate.queue_messages
    assert f"FANWISE_QUEUE_MESSAGES={width}" in environment(proposal.changes)
    assert tomllib.loads("\n".join(toml(proposal.changes)))["fanwise"]["queue_messages"] == width
    assert any(line.startswith(f"queue_messages = {width}  # ") for line in toml(proposal.changes))
    text = "\n".join(lines(proposal))
    for part in ("traffic", "pauses", "forgiven   now", "queue_messages decides", "connections dropped", "confidence"):
        assert part in text
    assert "alone without a difference for this traffic" in text


def test_the_document_is_json_and_has_the_same_figures() -> None:
    _, proposal = found()
    told = json.loads(json.dumps(document(proposal)))
    assert told["today"]["dropped"] == proposal.today.dropped == len(told["today"]["drops"])
    assert told["proposed"]["settings"]["queue_messages"] == proposal.best.candidate.queue_messages
    assert len(told["curve"]["disconnect"]) == len(proposal.curve["disconnect"])
    assert told["doubts"]


def test_a_report_without_changes_says_so() -> None:
    _, proposal = found(Candidate(queue_messages=200))
    assert "nothing to change" in "\n".join(lines(proposal))
    assert environment(proposal.changes) == []

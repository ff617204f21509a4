from __future__ import annotations

import json

import click

from fanwise.tools.doctor.findings import Level, fail, ok, warn
from fanwise.tools.doctor.report import Report, as_json, lines

REPORT = Report(
    "http://h: Fanwise",
    [ok("backlog", "is long"), warn("event loop", "is slow", "take another"), fail("queue", "is wide", "narrow it")],
    ["memory: nobody tells"],
)


def test_a_line_for_each_finding_and_one_for_its_fix() -> None:
    """The columns stand below each other; what was not looked at, and the sum, come last."""
    assert [click.unstyle(line) for line in lines(REPORT)] == [
        "http://h: Fanwise",
        "ok    backlog     is long",
        "warn  event loop  is slow",
        "                  fix: take another",
        "fail  queue       is wide",
        "                  fix: narrow it",
        "not looked at: memory: nobody tells",
        "1 ok, 1 warn, 1 fail",
    ]


def test_sentences_are_wrapped_at_words() -> None:
    """At the terminal's width, below where they begin; a terminal that is narrower than that breaks them itself."""
    report = Report("subject", [warn("queue", "is wider than memory has room for", "set FANWISE_QUEUE_BYTES=1048576")])
    assert [click.unstyle(line) for line in lines(report, columns=40)][1:-1] == [
        "warn  queue  is wider than memory has",
        "             room for",
        "             fix: set",
        "                  FANWISE_QUEUE_BYTES=1048576",
    ]
    assert "is wider than memory has room for" in click.unstyle(list(lines(report, columns=30))[1])


def test_json_says_the_same() -> None:
    """With the worst of all."""
    told = json.loads(as_json(REPORT))
    assert (told["version"], told["subject"], told["worst"]) == (1, "http://h: Fanwise", "fail")
    assert told["findings"][1] == {
        "level": "warn",
        "name": "event loop",
        "found": "is slow",
        "fix": "take another",
    }
    assert told["left_out"] == ["memory: nobody tells"]


def test_an_empty_report() -> None:
    """Is fine."""
    assert Report().worst is Level.OK
    assert list(lines(Report("nothing"))) == ["nothing", "0 ok, 0 warn, 0 fail"]

"""Findings in lines for people, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from .findings import Finding, Level, worst

_VERSION = 1  # of the JSON
_LEVEL_CHARACTERS = 4
_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@dataclass(slots=True)
class Report:
    """The findings about one server, and the checks left out.

    Attributes:
        subject: The examined server: a sentence.
        findings: In the order in which they were made.
        left_out: The checks left out, each a sentence with its reason.
    """

    subject: str = ""
    findings: list[Finding] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def worst(self) -> Level:
        """Of all findings."""
        return worst(self.findings)


def lines(report: Report) -> Iterator[str]:
    """Line by line; the levels have colours."""
    width = max((len(finding.name) for finding in report.findings), default=0)
    yield report.subject
    for finding in report.findings:
        level = click.style(f"{finding.level.name.lower():<{_LEVEL_CHARACTERS}}", fg=_COLOURS[finding.level])
        yield f"{level}  {finding.name:<{width}}  {finding.found}"
        if finding.fix:
            yield f"{'':{_LEVEL_CHARACTERS + width + 4}}fix: {finding.fix}"
    for sentence in report.left_out:
        yield f"not looked at: {sentence}"
    yield summary(report)


def summary(report: Report) -> str:
    """Returns the number of findings of each level, as a sentence."""
    counts = {level: sum(finding.level is level for finding in report.findings) for level in Level}
    return f"{counts[Level.OK]} ok, {counts[Level.WARN]} warn, {counts[Level.FAIL]} fail"


def as_json(report: Report) -> str:
    """For programs."""
    findings = [{**finding._asdict(), "level": finding.level.name.lower()} for finding in report.findings]
    document = {
        "version": _VERSION,
        "subject": report.subject,
        "worst": report.worst.name.lower(),
        "findings": findings,
        "left_out": report.left_out,
    }
    return json.dumps(document, indent=2)

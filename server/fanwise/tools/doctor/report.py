"""Findings in lines for people, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import wrap

import click

from .findings import Finding, Level, worst

_VERSION = 1  # of the JSON
_LEVEL_CHARACTERS = 4
_LEAST_COLUMNS = 20  # for sentences: a narrower terminal breaks its lines itself
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


def lines(report: Report, *, columns: int | None = None) -> Iterator[str]:
    """Yields line by line; the levels have colours.

    `columns`: the terminal's width, at which sentences are wrapped between words; None: each sentence is one line.
    """
    width = max((len(finding.name) for finding in report.findings), default=0)
    margin = _LEVEL_CHARACTERS + width + 4
    yield from _wrapped(report.subject, columns)
    for finding in report.findings:
        level = click.style(f"{finding.level.name.lower():<{_LEVEL_CHARACTERS}}", fg=_COLOURS[finding.level])
        found, *more = _wrapped(finding.found, columns, margin=margin)
        yield f"{level}  {finding.name:<{width}}  {found.lstrip()}"
        yield from more
        if finding.fix:
            yield from _wrapped(f"fix: {finding.fix}", columns, margin=margin, hanging=len("fix: "))
    for sentence in report.left_out:
        yield from _wrapped(f"not looked at: {sentence}", columns, hanging=_LEVEL_CHARACTERS)
    yield summary(report)


def _wrapped(text: str, columns: int | None, *, margin: int = 0, hanging: int = 0) -> list[str]:
    """Returns the lines of a text that begins at column `margin`; further lines begin `hanging` columns later."""
    if columns is None or columns - margin < _LEAST_COLUMNS:
        return [f"{'':{margin}}{text}"]
    return wrap(
        text,
        columns,
        initial_indent=" " * margin,
        subsequent_indent=" " * (margin + hanging),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


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

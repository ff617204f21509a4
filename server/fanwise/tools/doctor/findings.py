"""The result of a check."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple


class Level(IntEnum):
    """The level of a finding; the value is the exit status."""

    OK = 0
    WARN = 1
    FAIL = 2


class Finding(NamedTuple):
    """One line: `found` in words, with figures, and `fix`, empty when ok."""

    level: Level
    name: str
    found: str
    fix: str = ""


def ok(name: str, found: str) -> Finding:
    """A finding without a fault."""
    return Finding(Level.OK, name, found)


def warn(name: str, found: str, fix: str) -> Finding:
    """A finding about a drawback."""
    return Finding(Level.WARN, name, found, fix)


def fail(name: str, found: str, fix: str) -> Finding:
    """A finding about a failure, present or to come."""
    return Finding(Level.FAIL, name, found, fix)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level; OK if there is none."""
    return max((finding.level for finding in findings), default=Level.OK)

"""What a check has found."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple


class Level(IntEnum):
    """How bad it is; the value is the exit status."""

    OK = 0
    WARN = 1
    FAIL = 2


class Finding(NamedTuple):
    """One line: `found` in words, with figures, and `fix`, which what is ok has none of."""

    level: Level
    name: str
    found: str
    fix: str = ""


def ok(name: str, found: str) -> Finding:
    """As it should be."""
    return Finding(Level.OK, name, found)


def warn(name: str, found: str, fix: str) -> Finding:
    """Works, with a drawback that somebody should know."""
    return Finding(Level.WARN, name, found, fix)


def fail(name: str, found: str, fix: str) -> Finding:
    """Will break, or does already."""
    return Finding(Level.FAIL, name, found, fix)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level; OK if there is none."""
    return max((finding.level for finding in findings), default=Level.OK)

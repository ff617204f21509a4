from __future__ import annotations

from fanwise.tools.doctor.findings import Level, fail, ok, warn, worst


def test_the_worst_finding_counts() -> None:
    """Its level is the exit status; nothing found is nothing bad."""
    findings = [ok("a", "is so"), warn("b", "is so", "do that"), fail("c", "is so", "do that")]
    assert [worst(findings[:count]) for count in range(4)] == [Level.OK, Level.OK, Level.WARN, Level.FAIL]
    assert [int(level) for level in Level] == [0, 1, 2]
    assert [bool(finding.fix) for finding in findings] == [False, True, True]

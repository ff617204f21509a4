"""What tokens give."""

from __future__ import annotations

import time

import pytest

from fanwise.core.rights import OPERATE, PUBLISH, Action, User
from fanwise.routes.auth.grants import Grant, Patterns


@pytest.mark.parametrize(
    ("patterns", "channel", "found"),
    [
        ([], "a", False),
        (["*"], "a", True),
        (["a"], "a", True),
        (["a"], "ab", False),
        (["a*"], "ab", True),
        (["a.*"], "a", False),
        (["a.*"], "a.b.c", True),
        (["b", "a.*"], "a.x", True),
        (["*a"], "ba", False),
    ],
)
def test_patterns(patterns: list[str], channel: str, found: bool) -> None:
    """Whole names, and beginnings."""
    assert Patterns(patterns).match(channel) is found


def test_what_a_grant_allows() -> None:
    """Who may listen to a channel may read its history, and see who else does."""
    grant = Grant(User("ann", expires_at=time.time() + 60), Patterns(["a"]), Patterns(["b"]))
    found = {action: [channel for channel in ("a", "b", "") if grant.allows(action, channel)] for action in Action}
    assert found == {action: ["b"] if action is PUBLISH else [] if action is OPERATE else ["a"] for action in Action}
    assert Grant(grant.user, Patterns([]), Patterns([]), operate=True).allows(OPERATE, "")
    assert not grant.has_expired
    assert Grant(User("ann", expires_at=time.time() - 1), Patterns([]), Patterns([])).has_expired

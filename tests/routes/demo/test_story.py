from __future__ import annotations

import pytest

from fanwise.routes.demo.story import (
    AWAY_SECONDS,
    CALM_SECONDS,
    END_SECONDS,
    MOST_SECONDS,
    STORY_SECONDS,
    Phase,
    Seen,
    Story,
)

NOTHING = Seen(connected=False, dropped=False, caught_up=False)
EVERYTHING = Seen(connected=True, dropped=True, caught_up=True)


def told(seen: Seen, *, step_seconds: float = 0.05) -> list[tuple[Phase, float]]:
    """[(phase, when it began)] of a story in which things always stand so."""
    story, now = Story(100.0), 100.0
    phases = [(story.phase, 0.0)]
    while story.phase is not Phase.OVER:
        now += step_seconds
        if story.turn(now, seen):
            phases.append((story.phase, now - 100.0))
    return phases


def test_a_story_has_its_phases_in_their_order() -> None:
    """Each begins as soon as it can, and those to look at last their time."""
    phases = told(EVERYTHING)
    assert [phase for phase, _ in phases] == list(Phase)
    assert phases[-1][1] == pytest.approx(CALM_SECONDS + AWAY_SECONDS + END_SECONDS, abs=0.4)


@pytest.mark.parametrize(
    ("seen", "last"),
    [
        (NOTHING, Phase.STOPPED),
        (EVERYTHING._replace(connected=False), Phase.BACK),
        (EVERYTHING._replace(dropped=False), Phase.STOPPED),
        (EVERYTHING._replace(caught_up=False), Phase.RETURNING),
    ],
)
def test_a_story_ends_whatever_does_not_happen(seen: Seen, last: Phase) -> None:
    """Clients that do not come, a server that does not drop, a client that does not get back in."""
    phases = told(seen)
    assert phases[-2][0] is last
    assert phases[-1][1] <= STORY_SECONDS + 0.4
    assert STORY_SECONDS < 60


def test_a_phase_is_not_skipped() -> None:
    """However late the look at it is: each of the phases is seen."""
    story = Story(0.0)
    seen = [story.turn(1000.0 * number, EVERYTHING) and story.phase for number in range(1, 7)]
    assert seen == list(Phase)[1:]
    assert not story.turn(10_000.0, EVERYTHING)
    assert max(MOST_SECONDS.values()) < 60

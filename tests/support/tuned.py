"""A scene that is worth tuning, and what a search finds in it: shared by the tests of `tuning`."""

from __future__ import annotations

from functools import cache

from fanwise.tuning.outcome import Candidate
from fanwise.tuning.plan import Plan, make_scene, planned_pauses
from fanwise.tuning.proposal import Proposal, propose
from fanwise.tuning.search import Search, Wish

SCENE = make_scene(
    Plan(rate=60, size=500, clients=12, pausing=5, pause_seconds=(0.5, 3.0), between_seconds=2.0, seconds=5.0,
         room_bytes=2_000.0)
)  # fmt: skip
NARROW = Candidate(queue_messages=20)


@cache
def found(today: Candidate = NARROW, wish: Wish | None = None) -> tuple[Search, Proposal]:
    search = Search(SCENE, today, wish=wish)
    return search, propose(search, pauses=planned_pauses(SCENE))

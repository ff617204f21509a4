from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from fanwise.core.ranks import RANK, Ranks


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40))))
def test_ranks_are_a_set(steps: list[tuple[bool, int]]) -> None:
    """Members come and go as in a set, in the order in which they came."""
    ranks: Ranks[int] = Ranks()
    model: dict[int, None] = {}
    for comes, member in steps:
        if comes:
            ranks.add(member)
            model.setdefault(member, None)
        else:
            ranks.discard(member)
            model.pop(member, None)
        assert (len(ranks), list(ranks), member in ranks) == (len(model), list(model), member in model)


def test_members_may_come_and_go_meanwhile() -> None:
    """Those who have left when their rank comes are passed over, and those who come into a later rank are seen."""
    ranks: Ranks[int] = Ranks()
    for member in range(3 * RANK):
        ranks.add(member)
    seen = []
    for member in ranks:
        seen.append(member)
        if member == 0:
            for gone in range(RANK, 3 * RANK - 1):
                ranks.discard(gone)
            ranks.add(3 * RANK)
    assert seen == [*range(RANK), 3 * RANK - 1, 3 * RANK]


def test_no_copy_refers_to_thousands() -> None:
    """What goes over the members holds one rank at a time: a collection of young objects would visit all it holds."""
    ranks: Ranks[int] = Ranks()
    for member in range(20 * RANK):
        ranks.add(member)
    going = iter(ranks)
    next(going)
    near = gc.get_referents(*gc.get_referents(going))  # of the generator: its iterator's list
    copies = [one for one in near if isinstance(one, list)]
    assert copies
    assert max(map(len, copies)) <= RANK

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fanwise.core import presence
from fanwise.core.presence import Roster
from fanwise.core.rights import User

ADA, BOB = User("ada", {"n": 1}), User("bob")
ROOM = 10_000


def told(roster: Roster, *, most_bytes: int = ROOM) -> list[tuple[Any, ...]]:
    """What is told, as (op, id) or (op, users)."""
    events = [json.loads(text) for text in roster.take("a", most_bytes=most_bytes)]
    assert all(event["channel"] == "a" for event in events)
    return [(event["op"], event.get("id", event.get("users"))) for event in events]


def come(roster: Roster, client: object, user: User) -> None:
    if roster.join(client, user):
        roster.note(user.id)


def go(roster: Roster, client: object) -> None:
    user_id = roster.leave(client)
    if user_id is not None and user_id not in roster.away:
        roster.note(user_id)


def test_a_user_is_here_once_while_a_client_is() -> None:
    """However many clients: the first one comes, and the last one leaves."""
    roster = Roster()
    for client in range(10_000):
        come(roster, client, ADA)
    assert (roster.users, roster.first(5), told(roster)) == (1, [ADA], [("join", "ada")])
    for client in range(9_999):
        go(roster, client)
    assert (roster.users, told(roster)) == (1, [])
    go(roster, 9_999)
    go(roster, 9_999)
    assert (roster.users, told(roster), bool(roster)) == (0, [("leave", "ada")], False)


def test_new_info_is_told() -> None:
    """By the client that brings it, or by another one of the user; what is the same is not told."""
    roster = Roster()
    come(roster, 1, ADA)
    told(roster)
    come(roster, 2, User("ada", {"n": 1}))
    assert not roster.changed
    come(roster, 2, User("ada", {"n": 2}))
    (text,) = roster.take("a", most_bytes=ROOM)
    assert json.loads(text) == {"op": "join", "channel": "a", "id": "ada", "info": {"n": 2}}
    go(roster, 1)
    go(roster, 2)
    assert (told(roster), roster.users) == ([("leave", "ada")], 0)


def test_a_user_that_comes_and_goes_is_told_once() -> None:
    """A batch says where each user is in the end."""
    roster = Roster()
    for _ in range(100):
        come(roster, 1, ADA)
        go(roster, 1)
    come(roster, 2, BOB)
    assert told(roster) == [("leave", "ada"), ("join", "bob")]
    assert told(roster) == []


def test_too_much_is_not_told_one_by_one() -> None:
    """What is kept, and what is sent, have a bound."""
    roster = Roster()
    for number in range(presence.MOST_CHANGES + 1):
        come(roster, number, User(f"user-{number}"))
    assert len(roster._changed) == 0
    assert told(roster, most_bytes=1 << 30) == [("presence_gap", presence.MOST_CHANGES + 1)]
    for number in range(20):
        go(roster, number)
    assert told(roster, most_bytes=500) == [("presence_gap", presence.MOST_CHANGES - 19)]
    assert told(roster) == []


def test_a_user_of_two_workers_leaves_with_the_last() -> None:
    """Whichever that is."""
    roster = Roster()
    come(roster, 1, ADA)
    for worker in ("w1", "w2"):
        roster.came(worker, User("ada"))
        roster.came(worker, BOB)
    assert (roster.users, told(roster)) == (2, [("join", "ada"), ("join", "bob")])
    go(roster, 1)
    roster.went("w1", "ada")
    roster.went("w1", "bob")
    roster.went("w1", "nobody")
    assert (roster.users, told(roster)) == (2, [])
    list(roster.gone("w2"))
    assert (roster.users, sorted(told(roster))) == (0, [("leave", "ada"), ("leave", "bob")])


def test_a_worker_with_too_many_users_is_told_in_sum() -> None:
    """Whether a user is still there is not known, so no user is said to have left."""
    roster = Roster()
    list(roster.agree("w1", {"ada", "bob"}))
    assert told(roster) == [("presence_gap", 2)]
    list(roster.agree("w1", {"ada", "bob"}))
    assert told(roster) == []
    list(roster.agree("w2", None))
    told(roster)
    roster.went("w1", "ada")
    assert told(roster) == [("presence_gap", 1)]
    list(roster.gone("w2"))
    assert told(roster) == [("presence_gap", 1)]
    roster.went("w1", "bob")
    assert told(roster) == [("leave", "bob")]


def test_many_users_of_a_worker_are_taken_over_a_few_at_a_time() -> None:
    """So that the loop turns between them."""
    roster = Roster()
    users = {f"user-{number}" for number in range(10_000)}
    for change in (roster.agree("w", users), roster.agree("w", set()), roster.agree("w", users), roster.gone("w")):
        assert sum(1 for _ in change) == 39
    assert roster.users == 0


def test_a_roster_that_nobody_watches_forgets_the_others() -> None:
    """Users of this worker stay."""
    roster = Roster()
    come(roster, 1, ADA)
    roster.came("w", BOB)
    roster.came("w", ADA)
    roster.forget()
    assert (roster.users, roster.changed) == (1, False)


class Twin:
    """What a watcher makes of what it is told."""

    def __init__(self) -> None:
        self.users: set[str] = set()

    def hear(self, roster: Roster, now: set[str]) -> None:
        for op, what in told(roster, most_bytes=200):
            if op == "presence_gap":
                assert what == len(now)
                self.users = set(now)  # it asks
            else:
                (self.users.add if op == "join" else self.users.discard)(what)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["come", "go", "came", "went", "agree", "gone", "tell"]),
            st.integers(0, 5),
            st.sampled_from("abcd"),
            st.sampled_from(["w1", "w2"]),
        ),
        max_size=60,
    )
)
def test_a_watcher_knows_who_is_here(steps: list[tuple[str, int, str, str]]) -> None:
    """After everything that may happen, on this worker and on two others."""
    roster, twin = Roster(), Twin()
    clients: dict[int, str] = {}
    away: dict[str, set[str]] = {"w1": set(), "w2": set()}
    for step, client, name, worker in [*steps, ("tell", 0, "", "")]:
        if step == "come" and client not in clients:
            clients[client] = name
            if roster.join(client, User(name)) and name not in roster.away:
                roster.note(name)
        elif step == "go":
            clients.pop(client, None)
            go(roster, client)
        elif step == "came":
            away[worker].add(name)
            roster.came(worker, User(name))
        elif step == "went":
            away[worker].discard(name)
            roster.went(worker, name)
        elif step == "agree":
            away[worker] = {name, *"ab"[: client % 3]}
            list(roster.agree(worker, away[worker]))
        elif step == "gone":
            away[worker] = set()
            list(roster.gone(worker))
        now = set(clients.values()).union(*away.values())
        assert roster.users == len(now)
        assert {name: member.clients for name, member in roster.members.items()} == Counter(clients.values())
        if step == "tell":
            twin.hear(roster, now)
            assert twin.users == now

from __future__ import annotations

from fanwise.tools.bench.load.agenda import Agenda


def test_what_is_due_is_done_in_order() -> None:
    """And equal times in the order of asking."""
    agenda, done = Agenda(), list[tuple[str, int]]()
    for name, when_ns in (("c", 30), ("a", 10), ("b", 20), ("b2", 20)):
        agenda.at(when_ns, lambda now_ns, name=name: done.append((name, now_ns)))  # type: ignore[misc]
    agenda.run(25)
    assert done == [("a", 25), ("b", 25), ("b2", 25)]
    assert agenda.due_seconds(25) == 5e-9


def test_an_action_that_comes_again_at_once_waits_for_the_next_run() -> None:
    """Else one client would keep all others waiting."""
    agenda, done = Agenda(), list[int]()

    def again(now_ns: int) -> None:
        done.append(now_ns)
        agenda.at(now_ns, again)

    agenda.at(0, again)
    agenda.run(1)
    agenda.run(2)
    assert done == [1, 2]


def test_nothing_to_do_is_no_long_wait() -> None:
    """Orders of the conductor come at any time."""
    agenda = Agenda()
    assert agenda.due_seconds(0) == 1
    agenda.at(10**12, lambda _now_ns: None)
    assert agenda.due_seconds(0) == 1
    assert agenda.due_seconds(10**13) == 0

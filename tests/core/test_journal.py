from __future__ import annotations

from fanwise.core import journal as module
from fanwise.core.journal import Change, Journal


def test_changes_after_a_number() -> None:
    """Of each user and channel the latest one, the oldest first."""
    journal = Journal(7)
    for channel, user_id in (("a", "ada"), ("a", "bob"), ("b", "ada"), ("a", "ada")):
        journal.note(channel, user_id)
    assert journal.number == 11
    assert journal.after(7) == [Change(9, "a", "bob"), Change(10, "b", "ada"), Change(11, "a", "ada")]
    assert journal.after(10) == [Change(11, "a", "ada")]
    assert journal.after(11) == []


def test_numbers_of_another_journal_are_not_known() -> None:
    """From before it began, or that it has not given."""
    journal = Journal(7)
    assert journal.after(6) is None
    assert journal.after(8) is None


def test_what_is_kept_has_a_bound() -> None:
    """Who has not asked for that long has missed something, and is told so."""
    journal = Journal(0)
    for number in range(module.MOST_KEPT + 1):
        journal.note("a", str(number))
    assert journal.after(0) is None
    assert len(journal.after(1) or ()) == module.MOST_KEPT

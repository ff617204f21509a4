from __future__ import annotations

from fanwise.core.shelf import Shelf


def test_a_channel_is_forgotten_in_all_books() -> None:
    """Also where it is in none of them."""
    shelf = Shelf(60.0)
    shelf.idle["lobby"] = shelf.aging["lobby"] = 1.0
    shelf.forget("lobby")
    shelf.forget("lobby")
    assert not any((shelf.empty, shelf.idle, shelf.aging))

"""Channels of Fanwise's own programs, told by their names: the demo's, and the doctor's."""

from __future__ import annotations

from typing import Final, Literal

Program = Literal["demo", "doctor"]
IDLE_SECONDS: Final = 10.0  # for which such a channel stays after its last client: it may come back
_DEMO: Final = "fanwise.demo"
_BEGINNINGS: Final = (f"{_DEMO}.", "fanwise.doctor.")


def program_of(channel: str) -> Program | None:
    """Returns the program that the channel called so belongs to; None: it is the application's."""
    if channel != _DEMO and not channel.startswith(_BEGINNINGS):
        return None
    return "doctor" if channel.startswith(_BEGINNINGS[1]) else "demo"

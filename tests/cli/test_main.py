from __future__ import annotations

from ..support.commands import fanwise


def test_all_commands_are_listed() -> None:
    """Each with what it is for."""
    shown = fanwise("--help").stdout
    for command in ("serve", "config", "publish", "subscribe", "bench", "doctor", "top"):
        assert f"  {command} " in shown


def test_the_version() -> None:
    """`python -m fanwise` is `fanwise`."""
    assert fanwise("--version").stdout.startswith("fanwise, version 0.")

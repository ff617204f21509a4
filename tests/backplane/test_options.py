from __future__ import annotations

from fanwise.backplane.options import Options
from fanwise.settings import Settings


def test_histories_are_as_long_as_those_of_a_server() -> None:
    """By default: what a server retains, another one can give."""
    options, fields = Options(), Settings.model_fields
    for name in ("history_messages", "history_bytes", "history_seconds"):
        assert getattr(options, name) == fields[name].default

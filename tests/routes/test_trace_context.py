from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from fanwise.routes.trace_context import TRACE_PARENT_CHARACTERS, TraceParent

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_parent_is_of_one_length() -> None:
    """What a stranger may send is 55 characters."""
    adapter: TypeAdapter[Any] = TypeAdapter(TraceParent)
    assert adapter.validate_python(PARENT) == PARENT
    assert len(PARENT) == TRACE_PARENT_CHARACTERS
    for wrong in ("", PARENT[:-1], f"{PARENT}-more", PARENT.upper(), f"{PARENT}\n", 7):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)

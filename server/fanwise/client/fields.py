"""The fields of a frame, each with the type that the dialect gives it."""

from __future__ import annotations

from typing import Any


def text_of(fields: dict[str, Any], name: str) -> str:
    """Returns a string. Raises KeyError without the field, and TypeError for another type, as the next one does."""
    value = fields[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no string")
    return value


def number_of(fields: dict[str, Any], name: str) -> int:
    """Returns an integer."""
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is no integer")
    return value


def seconds_of(fields: dict[str, Any], name: str) -> float | None:
    """Returns a number of seconds from 0 on; None without the field, or where it is null."""
    value = fields.get(name)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or value < 0):
        raise TypeError(f"{name} is no number of seconds")
    return value

"""Tags, filters and beginnings in JSON, as fields of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field

from ..core.filters import MAX_TAGS, as_filter, check_tags
from ..core.publication import MAX_LAST

TagsField: TypeAlias = Annotated[
    dict[str, str],
    Field(
        description="what the publication is about, for the filters of clients: at most 8 tags with a value each",
        examples=[{"symbol": "EUR"}],
        json_schema_extra={"maxProperties": MAX_TAGS},
    ),
]
FilterField: TypeAlias = Annotated[
    dict[str, str | list[str]],
    Field(
        description="only publications that have, at each of these tags, the value or one of the values; at most 8 "
        "tags and 32 values",
        examples=[{"symbol": "EUR"}],
        json_schema_extra={"maxProperties": MAX_TAGS},
    ),
]
LastField: TypeAlias = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_LAST,
        description="so many publications before the head, as far as they are retained; not together with `since`",
    ),
]
_CHECKS: Final[Mapping[str, Callable[[Any], object]]] = {"tags": check_tags, "filter": as_filter}


def check_objects(fields: Mapping[str, Any]) -> None:
    """Checks the tags and the filter among the fields before pydantic does, which makes an error of each mistake.

    Raises:
        TagError: One of them is not allowed.
    """
    for name, check in _CHECKS.items():
        value = fields.get(name)
        if isinstance(value, dict):
            check(value)

"""Where a stream begins and what it lets through, as URLs say it: `?since=`, `?last=` and `?filter=`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final

from fastapi import Query

from ..core.filters import Filter, read_tags
from ..core.publication import MAX_LAST, Beginning, Position, beginning
from ..core.rights import Action
from ..errors import BeginningError
from ..transport.handshakes import Asked, all_values

_DIGITS: Final = len(str(MAX_LAST))

SinceQuery = Annotated[
    str | None, Query(description="Position after which the stream goes on.", examples=["9f2c01ab77e4:42"])
]
LastQuery = Annotated[
    str | None,
    Query(
        description="How many publications before the head the stream begins, as far as they are retained. Not "
        "together with `since`; `Last-Event-ID` wins.",
        examples=["10"],
        json_schema_extra={"type": "integer", "minimum": 0, "maximum": MAX_LAST},
    ),
]
FilterQuery = Annotated[
    list[str] | None,
    Query(
        description="A tag and its value that publications must have, `tag:value`. May be repeated: other tags must be "
        "there too, and another value of a tag will do as well.",
        examples=[["symbol:EUR"]],
    ),
]


def read_beginning(
    since: str | None, last: str | None, filters: Collection[str], *, event_id: str | None = None
) -> tuple[Beginning | None, Filter | None]:
    """Returns where a stream begins, None for the head, and what it lets through, None for everything.

    Args:
        since: A position.
        last: A number of publications before the head.
        filters: Tags with values: "symbol:EUR".
        event_id: The position of a browser that comes back; wins over both.

    Raises:
        BeginningError: Both `since` and `last` are given, or `last` is no number.
        PositionError: A position does not look like one.
        TagError: A tag is not allowed, or there are too many.
    """
    given = event_id or since
    position = Position.parse(given) if given else None
    count = None if event_id or not last else _number(last)
    return beginning(position, count, read_tags(filters, "filter") if filters else None)


def asked_beginning(handshake: Asked) -> tuple[Beginning | None, Filter | None]:
    """Returns what a handshake of the plain dialect asks for. Raises what `read_beginning` raises."""
    query = handshake.query_params
    if "last" not in query and "filter" not in query:
        return None, None
    return read_beginning(None, query.get("last"), all_values(handshake, "filter"))


def to_listen(since: Beginning | None) -> list[Action]:
    """Returns what a user must be allowed to do for a stream that begins there; None: at the head."""
    return [Action.SUBSCRIBE] if since is None else [Action.SUBSCRIBE, Action.HISTORY]


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise BeginningError(f"last={text[:80]!r} is not allowed: it is a number from 0 to {MAX_LAST}")
    return int(text)

"""A picture: tiles and tables of texts, made of documents of /stats. No I/O.

Names and addresses are what strangers chose: each text goes through `humanize.printable`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..humanize import number, printable, size, span
from ..rates import Document, Rates

NOTHING = "-"  # where there is no value, or not yet
_NAME_CHARACTERS = 32


class Column(NamedTuple):
    """A column: its name, and whether it holds numbers, which stand to the right."""

    name: str
    numbers: bool = False


class Table(NamedTuple):
    """A table: each row has a text for each column."""

    title: str
    columns: tuple[Column, ...]
    rows: list[tuple[str, ...]]


class Picture(NamedTuple):
    """All that is shown of one moment. `tiles`: [(name, value)]."""

    head: str
    tiles: list[tuple[str, str]]
    tables: list[Table]


_CLIENTS = (
    Column("client"),
    Column("address"),
    Column("channels"),
    Column("lag", numbers=True),
    Column("bytes", numbers=True),
    Column("buffered", numbers=True),
    Column("behind", numbers=True),
    Column("RTT", numbers=True),
)
_CHANNELS = (
    Column("channel"),
    Column("clients", numbers=True),
    Column("messages/s", numbers=True),
    Column("retained", numbers=True),
    Column("bytes", numbers=True),
    Column("head", numbers=True),
)
_CLOSED = (
    Column("closed client"),
    Column("address"),
    Column("reason"),
    Column("code", numbers=True),
    Column("lag", numbers=True),
    Column("ago", numbers=True),
)


def paint(document: Document, rates: Rates | None) -> Picture:
    """Returns the picture of a document, with the rates since the last one if there are any."""
    at = float(document["at"])
    return Picture(
        head=_head(document),
        tiles=_tiles(document, rates),
        tables=[
            Table("Furthest behind", _CLIENTS, [_client(one) for one in document["clients"]]),
            Table("Busiest channels", _CHANNELS, [_channel(one) for one in document["channels"]]),
            Table("Latest closed", _CLOSED, [_closed(one, at) for one in document["closed_clients"]]),
        ],
    )


def _head(document: Document) -> str:
    server, state = document["server"], document["state"]
    doing = "draining" if state["draining"] else "ready" if state["ready"] else "not ready"
    return printable(
        f"Fanwise {server['version']} on Python {server['python']} ({server['loop']}), process {server['pid']}, "
        f"up {span(document['uptime_seconds'])}, {doing}",
        most=200,
    )


def _tiles(document: Document, rates: Rates | None) -> list[tuple[str, str]]:
    now = document["now"]
    behind = f", {number(now['behind'])} behind" if now["behind"] else ""
    return [
        ("clients", f"{number(now['clients'])}{behind}"),
        ("publications/s", NOTHING if rates is None else number(rates.publications)),
        ("deliveries/s", NOTHING if rates is None else number(rates.deliveries)),
        ("drops/s", NOTHING if rates is None else number(rates.drops)),
        ("p99 to socket", NOTHING if rates is None else _span(rates.socket_p99_seconds)),
        ("loop lag", span(document["state"]["loop_lag_seconds"])),
        ("memory", size(now["rss_bytes"])),
        ("retained", size(now["retained_bytes"])),
    ]


def _client(client: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        printable(client["id"], most=_NAME_CHARACTERS),
        printable(client["address"], most=_NAME_CHARACTERS),
        _names(client["channels"], int(client["subscriptions"])),
        number(client["lag"]),
        size(client["lag_bytes"]),
        size(client["buffered_bytes"]),
        _span(client["behind_seconds"]),
        _span(client["rtt_seconds"]),
    )


def _channel(channel: Mapping[str, Any]) -> tuple[str, ...]:
    rate = channel["publications_per_second"]
    return (
        printable(channel["name"], most=_NAME_CHARACTERS),
        number(channel["clients"]),
        NOTHING if rate is None else number(rate),
        number(channel["retained"]),
        size(channel["retained_bytes"]),
        f"{channel['head']:,}",
    )


def _closed(closed: Mapping[str, Any], at: float) -> tuple[str, ...]:
    return (
        printable(closed["id"], most=_NAME_CHARACTERS),
        printable(closed["address"], most=_NAME_CHARACTERS),
        printable(closed["reason"], most=_NAME_CHARACTERS),
        str(int(closed["code"])),
        number(closed["lag"]),
        span(max(at - closed["at"], 0.0)),
    )


def _names(names: Sequence[str], total: int) -> str:
    """Returns the first names, and the number of further ones."""
    if not names:
        return NOTHING
    more = f" +{total - 1}" if total > 1 else ""
    return printable(names[0], most=_NAME_CHARACTERS - len(more)) + more


def _span(seconds: float | None) -> str:
    return NOTHING if seconds is None else span(seconds)

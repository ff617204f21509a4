"""A picture: tiles and tables of texts, made of documents of /stats. No I/O.

Names and addresses are what strangers chose: each text goes through `humanize.printable`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from ..humanize import number, printable, size, span
from ..rates import LEFT, Document, Rates, clients_dropped

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


Tone: TypeAlias = Literal["", "good", "warn", "bad"]


class Tile(NamedTuple):
    """A figure: its name, its text, and its number for a line over time. `tone`: whether the number is good or bad."""

    name: str
    value: str
    number: float | None = None
    tone: Tone = ""


class Picture(NamedTuple):
    """All that is shown of one moment.

    Attributes:
        head: The server, and its state.
        tiles: Its figures.
        tables: Its lists.
        tone: Of the head.
        sort: The column of clients that orders them.
        past: {name of a tile: its latest numbers, the newest last}.
        foot: The keys that work; empty without a keyboard.
    """

    head: str
    tiles: list[Tile]
    tables: list[Table]
    tone: Tone = ""
    sort: str = ""
    past: Mapping[str, Sequence[float | None]] = {}
    foot: str = ""


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
_DROPPED = (
    Column("dropped, by cause"),
    Column("times", numbers=True),
    Column("messages", numbers=True),
    Column("messages/s", numbers=True),
)
_CLOSED = (
    Column("closed client"),
    Column("address"),
    Column("reason"),
    Column("code", numbers=True),
    Column("lag", numbers=True),
    Column("ago", numbers=True),
)


_WORKERS = (
    Column("worker"),
    Column("host"),
    Column("process", numbers=True),
    Column("state"),
    Column("clients", numbers=True),
    Column("behind", numbers=True),
    Column("publications/s", numbers=True),
    Column("deliveries/s", numbers=True),
    Column("CPU", numbers=True),
    Column("loop lag", numbers=True),
    Column("memory", numbers=True),
    Column("up", numbers=True),
)
_SILENT = "silent"
# {column that orders the clients, the largest first: its field}
SORTS: Final = {
    "lag": "lag",
    "bytes": "lag_bytes",
    "buffered": "buffered_bytes",
    "behind": "behind_seconds",
    "RTT": "rtt_seconds",
}


def paint(document: Document, rates: Rates | None, *, sort: str = "lag") -> Picture:
    """Returns the picture of a document, with the rates since the last one if there are any.

    `sort` is a column of `SORTS`.
    """
    at = float(document["at"])
    by = SORTS[sort]
    clients = sorted(document["clients"], key=lambda one: -1.0 if one[by] is None else float(one[by]), reverse=True)
    tables = [
        Table("Furthest behind", _CLIENTS, [_client(one) for one in clients]),
        Table("Busiest channels", _CHANNELS, [_channel(one) for one in document["channels"]]),
        Table("Dropped, by cause", _DROPPED, _dropped(document, rates)),
        Table("Latest closed", _CLOSED, [_closed(one, at) for one in document["closed_clients"]]),
    ]
    if "workers" in document:
        rows = [_worker(one, rates, document["silent"]) for one in document["workers"]]
        tables = [
            Table("Workers", _WORKERS, rows),
            _with_worker(tables[0], [_name(one["worker"]) for one in clients]),
            _with_worker(tables[1], [number(len(one["workers"])) for one in document["channels"]], several=True),
            tables[2],
            _with_worker(tables[3], [_name(one["worker"]) for one in document["closed_clients"]]),
        ]
    tone: Tone = "good" if document["state"]["ready"] else "bad"
    return Picture(head=_head(document), tiles=_tiles(document, rates), tables=tables, tone=tone, sort=sort)


def _with_worker(table: Table, cells: Sequence[str], *, several: bool = False) -> Table:
    """Returns the table with a second column, for the worker, or for their number."""
    column = Column("workers", numbers=True) if several else Column("worker")
    rows = [(row[0], cell, *row[1:]) for row, cell in zip(table.rows, cells, strict=True)]
    return Table(table.title, (table.columns[0], column, *table.columns[1:]), rows)


def _head(document: Document) -> str:
    server, state = document["server"], document["state"]
    doing = "draining" if state["draining"] else "ready" if state["ready"] else "not ready"
    process = f"process {server['pid']}"
    if "workers" in document:
        silent = f" ({number(len(document['silent']))} silent)" if document["silent"] else ""
        process = f"{number(len(document['workers']))} workers{silent}"
    return printable(
        f"Fanwise {server['version']} on Python {server['python']} ({server['loop']}), {process}, "
        f"up {span(document['uptime_seconds'])}, {doing}",
        most=200,
    )


def _worker(worker: Mapping[str, Any], rates: Rates | None, silent: Sequence[str]) -> tuple[str, ...]:
    own = None if rates is None else rates.workers.get(worker["worker"])
    doing = "draining" if worker["draining"] else "ready" if worker["ready"] else "not ready"
    return (
        _name(worker["worker"]),
        _name(worker["host"]),
        str(int(worker["pid"])),
        _SILENT if worker["worker"] in silent else doing,
        number(worker["clients"]),
        number(worker["behind"]),
        NOTHING if own is None else number(own.publications),
        NOTHING if own is None else number(own.deliveries),
        NOTHING if own is None else f"{own.cpu:.0%}",
        span(worker["loop_lag_seconds"]),
        size(worker["rss_bytes"]),
        span(worker["uptime_seconds"]),
    )


def _tiles(document: Document, rates: Rates | None) -> list[Tile]:
    now, state, dropped = document["now"], document["state"], clients_dropped(document)
    drops, published, delivered, ready, late = _recent(rates)
    behind = f", {number(now['behind'])} behind" if now["behind"] else ""
    recent = f", {number(drops)}/s" if drops else ""
    lag: float = state["loop_lag_seconds"]
    return [
        Tile("clients dropped", f"{number(dropped)}{recent}", drops, "bad" if recent else ""),
        Tile("clients", f"{number(now['clients'])}{behind}", now["clients"], "warn" if behind else ""),
        Tile("publications/s", _rate(published), published),
        Tile("deliveries/s", _rate(delivered), delivered),
        Tile("p99, ready clients", _span(ready), ready),
        Tile("p99, catching up", _span(late), late),
        Tile("loop lag", span(lag), lag, "" if state["ready"] else "warn"),
        Tile("memory", size(now["rss_bytes"]), now["rss_bytes"]),
        Tile("retained", size(now["retained_bytes"]), now["retained_bytes"]),
    ]


def _recent(rates: Rates | None) -> tuple[float | None, ...]:
    """Returns clients dropped, publications and deliveries per second, and two percentiles; None where unknown."""
    if rates is None:
        return (None,) * 5
    return rates.drops, rates.publications, rates.deliveries, rates.ready_p99_seconds, rates.catching_up_p99_seconds


def _dropped(document: Document, rates: Rates | None) -> list[tuple[str, ...]]:
    """Returns a row for each cause for which clients were dropped, or skipped messages."""
    rows: list[tuple[str, ...]] = []
    for cause, missed in sorted(document["dropped"].items(), key=lambda item: -item[1]):
        kind, _, reason = cause.partition("_")
        times = document["gaps" if kind == "gap" else "closed"].get(reason, 0)
        if reason not in LEFT and (times or missed):
            recent = NOTHING if rates is None else number(rates.missed.get(cause, 0.0))
            rows.append((_name(f"{kind}: {reason.replace('_', ' ')}"), number(times), number(missed), recent))
    return rows


def _client(client: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        _name(client["id"]),
        _name(client["address"]),
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
        _name(channel["name"]),
        number(channel["clients"]),
        NOTHING if rate is None else number(rate),
        number(channel["retained"]),
        size(channel["retained_bytes"]),
        f"{channel['head']:,}",
    )


def _closed(closed: Mapping[str, Any], at: float) -> tuple[str, ...]:
    return (
        _name(closed["id"]),
        _name(closed["address"]),
        _name(closed["reason"]),
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


def _name(text: str) -> str:
    return printable(text, most=_NAME_CHARACTERS)


def _rate(value: float | None) -> str:
    return NOTHING if value is None else number(value)


def _span(seconds: float | None) -> str:
    return NOTHING if seconds is None else span(seconds)

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


def paint(document: Document, rates: Rates | None) -> Picture:
    """Returns the picture of a document, with the rates since the last one if there are any."""
    at = float(document["at"])
    tables = [
        Table("Furthest behind", _CLIENTS, [_client(one) for one in document["clients"]]),
        Table("Busiest channels", _CHANNELS, [_channel(one) for one in document["channels"]]),
        Table("Latest closed", _CLOSED, [_closed(one, at) for one in document["closed_clients"]]),
    ]
    if "workers" in document:
        rows = [_worker(one, rates, document["silent"]) for one in document["workers"]]
        tables = [
            Table("Workers", _WORKERS, rows),
            _with_worker(tables[0], [_name(one["worker"]) for one in document["clients"]]),
            _with_worker(tables[1], [number(len(one["workers"])) for one in document["channels"]], several=True),
            _with_worker(tables[2], [_name(one["worker"]) for one in document["closed_clients"]]),
        ]
    return Picture(head=_head(document), tiles=_tiles(document, rates), tables=tables)


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


def _span(seconds: float | None) -> str:
    return NOTHING if seconds is None else span(seconds)

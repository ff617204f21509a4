"""The tables of `docs/` that code decides: `python -m tests.support.tables --write` makes them anew.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`. Its rows, their order and columns come from the code;
where a table has one column more, that is written by hand and kept.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fanwise import CloseReason
from fanwise.app import create_app
from fanwise.core.codes import ErrorCode
from fanwise.settings import Settings, variable

from ..system.hostile.rows import ROWS
from .processes import ROOT

DOCS = ROOT / "docs"
KEY = "a-key-of-these-tables"
# Of FastAPI itself, and the demo's own end of its sockets.
NOT_SHOWN = {"/docs/oauth2-redirect", "/redoc", "/demo/tutorial"}
METHODS = ("GET", "POST", "PUT", "DELETE")


class Table(NamedTuple):
    """Which file has it, its head, and its rows without the last column."""

    path: Path
    head: str
    rows: Callable[[], Iterator[tuple[str, ...]]]


def settings() -> Iterator[tuple[str, ...]]:
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, (), "") else f"`{field.default}`"
        yield f"`{variable(name)}`", default, str(field.description).replace("|", "\\|")


def close_codes() -> Iterator[tuple[str, ...]]:
    for reason in CloseReason:
        yield str(reason.code), reason.name.lower(), reason.text, "yes" if reason.reconnect else "no"


def routes() -> Iterator[tuple[str, ...]]:
    app = create_app(Settings.model_validate({"api_key": KEY}))
    described = app.openapi()["paths"]
    for path, methods in sorted(found_routes(app.routes)):
        shown = path.replace(":path}", "}")
        for method in methods:
            operation: dict[str, Any] = described.get(shown, {}).get(method.lower(), {})
            yield f"`{method} {shown}`", "yes" if operation.get("security") else key_of(method, shown)


def key_of(method: str, path: str) -> str:
    """What WebSockets, which OpenAPI does not describe, ask a key for."""
    return {"/ws": "publish", "/live": "yes"}.get(path, "") if method == "WS" else ""


def found_routes(routes: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(path, its methods) of all routes, those of included routers among them."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from found_routes(inner.routes)
        elif route.path not in NOT_SHOWN:
            methods = getattr(route, "methods", None)
            yield route.path, tuple(one for one in METHODS if one in methods) if methods else ("WS",)


def errors() -> Iterator[tuple[str, ...]]:
    for code in ErrorCode:
        yield f"`{code.value}`", str(code.status or ""), "yes" if code.in_dialect else "", code.text


def attacks() -> Iterator[tuple[str, ...]]:
    for row in ROWS:
        within = f"{row.closed_seconds:g} s" if math.isfinite(row.closed_seconds) else ""
        where = "`tox -e hostile`" if row.long else "suite"
        yield row.title, ", ".join(sorted(row.ends)), within, where


TABLES = {
    "settings": Table(
        DOCS / "operations" / "settings.md",
        "| variable | default | setting | cost and benefit |\n|---|---|---|---|",
        settings,
    ),
    "routes": Table(DOCS / "operations" / "running.md", "| route | key | purpose |\n|---|---|---|", routes),
    "close-codes": Table(
        DOCS / "dialects.md", "| code | name | text | reconnect | cause |\n|--:|---|---|---|---|", close_codes
    ),
    "attacks": Table(
        DOCS / "operations" / "security.md",
        "| attack | ends | within | tested by | bound |\n|---|---|--:|---|---|",
        attacks,
    ),
    "errors": Table(DOCS / "dialects.md", "| code | HTTP status | JSON dialect | meaning |\n|---|---|---|---|", errors),
}


def current(name: str) -> str:
    """The table as it stands in its file."""
    return found(TABLES[name].path.read_text(), name)[1]


def found(text: str, name: str) -> tuple[str, str, str]:
    """`text` in three parts: before the table, the table, behind it."""
    before, mark, rest = text.partition(f"<!-- table: {name} -->\n")
    table, end, after = rest.partition("<!-- end -->")
    if not (mark and end):
        raise ValueError(f"there is no table {name}")
    return before + mark, table, end + after


def generated(name: str) -> str:
    """The table as code decides it, with the columns that `current` has by hand."""
    table = TABLES[name]
    kept = {}
    for line in current(name).splitlines()[2:]:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        kept[cells[0]] = cells
    columns = table.head.splitlines()[0].count("|") - 1
    lines = [table.head]
    for row in table.rows():
        by_hand = kept.get(row[0], [""] * columns)[len(row) :]
        lines.append(re.sub(r"\|  (?=\|)", "| ", f"| {' | '.join([*row, *by_hand])} |"))
    return "\n".join(lines) + "\n"


def write() -> None:
    """Makes all tables anew."""
    for name, table in TABLES.items():
        before, _, after = found(table.path.read_text(), name)
        table.path.write_text(before + generated(name) + after)


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.support.tables --write")
    write()

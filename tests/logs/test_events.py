from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator

import pytest

from fanwise.logs.events import CODES, Event, event_of, log

from ..support.processes import ROOT

RECORD = set(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime", "taskName"}
LINE = {"time", "level", "logger", "code", "message", "suppressed", "limited", "traceback"}  # of the JSON format
OURS = set(Event) - {Event.LIBRARY}


def calls() -> Iterator[tuple[str, Event, set[str] | None]]:
    """(where, event, names of its fields) of each call of `log` in the server; None for names that are not written."""
    for path in sorted((ROOT / "server").rglob("*.py")):
        tree = ast.parse(path.read_text())
        imported = [
            node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and str(node.module).endswith("events")
        ]
        for node in ast.walk(tree) if imported else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "log":
                names = [keyword.arg for keyword in node.keywords]
                written = None if None in names else {name for name in names if name}
                events = re.findall(r"\bEvent\.([A-Z_]+)", ast.unparse(node.args[0]))
                assert events, "which events it may be is to be read in the call"
                yield from ((f"{path.name}:{node.lineno}", Event[event], written) for event in events)


def test_each_event_is_logged_with_its_fields() -> None:
    """With all of them and no other, wherever it is logged."""
    wrong = [
        (where, event.code, names)
        for where, event, names in calls()
        if names is not None and names != set(event.fields)
    ]
    assert wrong == []


def test_the_table_is_closed() -> None:
    """Each event is logged somewhere; codes are words that stay."""
    assert {event for _, event, _ in calls()} == OURS
    assert [code for code in CODES if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []
    assert len(CODES) == len(Event.__members__) == len(list(Event))


def test_nobody_else_writes_to_the_logger() -> None:
    """What has a code goes through `log`; the Python client's own logger is another one."""
    naming = {
        path.name: re.findall(r'getLogger\((?:"fanwise"|LOGGER)\)', path.read_text())
        for path in (ROOT / "server").rglob("*.py")
    }
    assert [name for name, calls in naming.items() if calls] == ["events.py"]


@pytest.mark.parametrize("event", list(Event), ids=lambda event: event.code)
def test_no_field_hides_what_a_record_or_a_line_has(event: Event) -> None:
    """A field is an attribute of its record and a name in its JSON line."""
    assert set(event.fields) & (RECORD | LINE) == set()
    assert len(set(event.fields)) == len(event.fields)


def test_a_record_carries_code_and_fields(caplog: pytest.LogCaptureFixture) -> None:
    """Under plain uvicorn there is no handler of ours: the user's own formatter finds all of it on the record."""
    with caplog.at_level(logging.INFO, "fanwise"):
        log(Event.STOPPING, clients=3, seconds=5.0)
    (record,) = caplog.records
    assert record.message == "3 clients leave within 5 s, then the server stops"
    assert (record.levelname, record.name, record.filename) == ("INFO", "fanwise", "test_events.py")
    extra = vars(record)
    assert (extra["code"], extra["clients"], extra["seconds"]) == ("stopping", 3, 5.0)
    assert event_of(record) is Event.STOPPING


def test_an_error_is_a_field_with_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Its class and its text, and where it was raised."""
    error = ValueError("no")
    log(Event.WRITER_DIED, client="1", error=error)
    (record,) = caplog.records
    assert record.message == "writer of client 1 died: ValueError('no')"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_sentence_without_fields_is_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    """Also one that is not there to be filled."""
    log(Event.SLOW_PATH)
    assert "plain ASGI" in caplog.records[0].message


def test_what_nobody_listens_to_is_not_made(caplog: pytest.LogCaptureFixture) -> None:
    """Below the logger's level there is no record, and none of its fields is looked at."""

    class Field:
        def __repr__(self) -> str:
            raise AssertionError("nobody asked")

    with caplog.at_level(logging.CRITICAL, "fanwise"):
        log(Event.WRITER_DIED, client=Field())
    assert caplog.records == []


def test_it_forces_no_handler_on_anybody() -> None:
    """A library says what has happened; where that goes is its user's business."""
    logger = logging.getLogger("fanwise")
    assert logger.handlers == []
    assert logger.propagate
    assert logger.level == logging.NOTSET


@pytest.mark.parametrize(
    ("name", "extra", "event"),
    [
        ("fanwise", {"code": "started"}, Event.STARTED),
        ("fanwise", {"code": "other"}, Event.LIBRARY),
        ("fanwise", {}, Event.LIBRARY),
        ("fanwise.client", {"code": "started"}, Event.LIBRARY),
        ("uvicorn.error", {"code": ["started"]}, Event.LIBRARY),
    ],
)
def test_what_is_none_of_ours_has_one_code(name: str, extra: dict[str, object], event: Event) -> None:
    """Whatever another library calls a code."""
    record = logging.makeLogRecord({"name": name, **extra})
    assert event_of(record) is event


def test_the_documents_have_the_table() -> None:
    """Each code with its level and its fields, in the order of the table."""
    section = (ROOT / "docs" / "operations" / "logs.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| [^|]+ \|([^|]*)\|$", section, re.MULTILINE)
    levels = {event: logging.getLevelName(event.level).lower() for event in Event} | {Event.LIBRARY: "any"}
    assert [(code, level, sorted(re.findall(r"`(\w+)`", fields))) for code, level, fields in rows] == [
        (event.code, levels[event], sorted(event.fields)) for event in Event
    ]

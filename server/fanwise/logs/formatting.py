"""The lines of the log: one event is one line, as text or as JSON, without secrets, limited by kind."""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
from collections.abc import Collection
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal

from .events import Event, event_of, log
from .limiter import make_limiter
from .scrubbing import CONNECTION_LOGGER, Scrubber, shorten_refusal

MESSAGE_CHARACTERS, VALUE_CHARACTERS = 1_000, 500  # longer ones are cut
TRACEBACK_CHARACTERS = 8_000
_INDENT = "    "


class LineFormatter(logging.Formatter):
    """The part of a record that both formats share.

    Args:
        secrets: Texts that must not appear in any line.
        pid: Whether each line has the process's id.
    """

    def __init__(self, secrets: Collection[str] = (), *, pid: bool = False) -> None:
        super().__init__()
        self._scrubber = Scrubber(secrets)
        self._pid = pid

    def time(self, record: logging.LogRecord) -> str:
        """Returns the time of a record: RFC 3339, UTC, milliseconds."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def read(self, record: logging.LogRecord) -> tuple[str, list[str]]:
        """Returns the message, and its further lines: a traceback, or a library's text behind a line feed."""
        message, rest = _message(record), ""
        if event_of(record) is Event.LIBRARY:
            message, _, rest = message.strip().partition("\n")
        if record.exc_info and record.exc_info[0] is not None:
            rest += "\n" + self.formatException(record.exc_info)
        if record.stack_info:
            rest += "\n" + record.stack_info
        return self._scrubber.clean(message, MESSAGE_CHARACTERS), self._scrubber.clean_lines(rest, TRACEBACK_CHARACTERS)

    def short(self, text: str) -> str:
        """Returns a value, cleaned and cut for a line."""
        return self._scrubber.clean(text, VALUE_CHARACTERS)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - logging would print it, in lines that are no events
        return f"{record.msg!r} does not go with its arguments: {error!r}"


class TextFormatter(LineFormatter):
    """`TIME LEVEL CODE: sentence`; a traceback follows in indented lines, and no event is indented."""

    def format(self, record: logging.LogRecord) -> str:
        """One event."""
        message, lines = self.read(record)
        event = event_of(record)
        code = record.name.partition(".")[0] if event is Event.LIBRARY else event.code
        text = f"{self.time(record)} {self.short(record.levelname):<8} {self.short(code)}: {message}"
        if left_out := getattr(record, "suppressed", 0):
            text += f" [{left_out} like this were left out before]"
        if getattr(record, "limited", False):
            text += " [more like this may be left out]"
        if self._pid:
            text += f" [{record.process}]"
        return "\n".join([text, *(_INDENT + line for line in lines)])


class JsonFormatter(LineFormatter):
    """One object per line: `time`, `level`, `logger`, `code`, `message`, and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """One event."""
        message, lines = self.read(record)
        event = event_of(record)
        line: dict[str, object] = {
            "time": self.time(record),
            "level": self.short(record.levelname).lower(),
            "logger": self.short(record.name),
            "code": event.code,
            "message": message,
        }
        if self._pid:
            line["process"] = record.process
        line |= {name: self._value(getattr(record, name, None)) for name in event.fields}
        line |= {name: record.__dict__[name] for name in ("suppressed", "limited") if name in record.__dict__}
        if lines:
            line["traceback"] = "\n".join(lines)
        return json.dumps(line, ensure_ascii=False)

    def _value(self, value: object) -> object:
        if isinstance(value, float) and math.isfinite(value):
            return round(value, 6)
        if value is None or isinstance(value, int):
            return value
        return self.short(str(value))


_ONLY_ROOT: Final[dict[str, Any]] = {"handlers": [], "propagate": True}


def log_config(
    level: str, log_format: Literal["text", "json"], *, secrets: Collection[str] = (), pid: bool = False
) -> dict[str, Any]:
    """Returns the configuration of all loggers, for `dictConfig` and uvicorn: lines on the standard error.

    Args:
        level: The least level logged: "debug", "info", "warning", "error" or "critical". Other libraries begin at
            "warning", and so do uvicorn's lines about single connections, except at "debug".
        log_format: "text" or "json".
        secrets: Texts that must not appear in any line.
        pid: Whether each line has the id of its process: several processes write to one log.
    """
    formatter = {"text": TextFormatter, "json": JsonFormatter}[log_format]
    least = level.upper()
    others = max(least, "WARNING", key=logging.getLevelNamesMapping().__getitem__)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": partial(formatter, secrets, pid=pid)}},
        "filters": {"limit": {"()": make_limiter}, "refusal": {"()": lambda: shorten_refusal}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "line",
                "filters": ["refusal", "limit"],
            }
        },
        "root": {"handlers": ["stderr"], "level": others},
        "loggers": {
            "fanwise": {"level": least},
            # uvicorn's own configuration, which may have come before, gives these handlers.
            "uvicorn": {"level": least, **_ONLY_ROOT},
            "uvicorn.error": {"level": least, **_ONLY_ROOT},
            CONNECTION_LOGGER: {"level": least if least == "DEBUG" else others},
            "uvicorn.access": {"level": others, **_ONLY_ROOT},
            "websockets": {"level": others},
        },
    }


def take_over() -> None:
    """Makes events of what Python itself would print: warnings and uncaught exceptions."""
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda _kind, error, _traceback: log(Event.UNCAUGHT, error=error)
    sys.unraisablehook = lambda unraisable: log(Event.UNCAUGHT, error=unraisable.exc_value)
    threading.excepthook = lambda raised: log(Event.UNCAUGHT, error=raised.exc_value)

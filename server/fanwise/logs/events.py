"""The closed table of events: what the server logs, under which code, at which level and with which fields.

One line per event that matters, and nothing per message. Only `log` writes to the logger "fanwise": readers of the log
can rely on the codes and on the fields of each. The core logs nothing: it returns its events.
"""

from __future__ import annotations

import logging
import re
from enum import Enum
from logging import ERROR, INFO, WARNING

LOGGER = "fanwise"
logger = logging.getLogger(LOGGER)

_FIELD = re.compile(r"%\((\w+)\)")
_SLOW_PATH = (
    "clients are served over plain ASGI, which is slower: run `fanwise serve`, or uvicorn with "
    "--ws fanwise.protocol:FanwiseProtocol"
)
_WORKERS = (
    "this is one of %(workers)d worker processes: each reaches only its own clients, so a message published in one is "
    "not seen by the clients of the others. Set FANWISE_BACKPLANE, run `fanwise serve --workers N`, or a single worker"
)
_BEHIND = "it was %(lag)d publications, %(lag_bytes)d bytes and %(behind_seconds).1f s behind on %(channels)d channels"
_MEMORY_SHORT = (
    "memory is short: %(freed_bytes)d bytes of history were let go and %(aborted)d clients aborted since this was last "
    "said; logs take %(retained_bytes)d of %(memory_bytes)s bytes"
)


class Event(Enum):
    """An event: (level, sentence, further fields). Fields stand in the sentence, or are further ones."""

    STARTED = (
        INFO,
        "Fanwise %(version)s takes clients on %(url)s",
        (
            "default_channel", "queue_messages", "queue_bytes", "overflow", "stall_seconds", "pong_seconds",
            "history_messages", "history_bytes", "max_message_bytes", "publishing", "max_clients",
            "address_connections", "descriptors", "fast_path", "sweep", "backplane",
        ),
    )  # fmt: skip
    STOPPING = (INFO, "%(clients)d clients leave within %(seconds)g s, then the server stops", ())
    STOPPED = (INFO, "the server has stopped after %(uptime_seconds).1f s; %(aborted)d connections were aborted", ())
    SLOW_PATH = (WARNING, _SLOW_PATH, ())
    WORKERS = (ERROR, _WORKERS, ())
    CLIENT_DROPPED = (WARNING, f"client %(client)s at %(address)s was dropped, %(reason)s: {_BEHIND}", ())
    CLIENT_CLOSED = (INFO, f"client %(client)s at %(address)s was closed, %(reason)s: {_BEHIND}", ())
    REFUSED = (INFO, "%(path)s was refused to %(address)s: %(reason)s", ())
    NO_ROOM = (WARNING, "there was no room at %(path)s for %(address)s: %(reason)s", ())
    NO_PLACE = (WARNING, "%(connections)d connections found no place, the latest of %(address)s: %(reason)s", ())
    ACCEPT_PAUSED = (WARNING, "no connections are accepted for %(seconds)g s: %(reason)s", ())
    MEMORY_SHORT = (WARNING, _MEMORY_SHORT, ())
    LOOP_LATE = (WARNING, "the event loop was %(late_seconds).3f s late, more than %(limit_seconds)g s", ())
    WRITER_DIED = (ERROR, "writer of client %(client)s died: %(error)s", ())
    HOOK_FAILED = (
        ERROR,
        "the application's hook %(hook)s has raised %(error)s: %(calls)d calls since the last",
        (),
    )
    HOOK_SLOW = (
        WARNING,
        "the application's hook %(hook)s has held the event loop for %(seconds).3f s: %(calls)d calls since the last",
        (),
    )
    AUDIT_DIED = (ERROR, "the audit died, slow clients are not found any more: %(error)s", ())
    FEED_FAILED = (ERROR, "the live feed has missed a second: %(error)s", ())
    DEMO_FAILED = (ERROR, "the demo's %(part)s failed: %(error)s", ())
    LAUNCHED = (
        INFO,
        "%(workers)d workers take clients on %(url)s, together at most %(max_clients)d",
        ("version", "memory_bytes", "engine"),
    )
    WORKER_DIED = (ERROR, "worker %(worker)d has died: %(why)s. It is started again in %(seconds)g s", ())
    WORKER_HUNG = (ERROR, "worker %(worker)d gave no sign of life for %(seconds).1f s, and is killed", ("pid",))
    WORKER_RESTS = (
        WARNING,
        "worker %(worker)d gave no sign of life for %(seconds).1f s, and gets no new connections meanwhile",
        ("pid",),
    )
    WORKERS_GAVE_UP = (ERROR, "worker %(worker)d has died %(deaths)d times in %(seconds)g s, last: %(why)s", ())
    WORKERS_REPLACING = (INFO, "%(workers)d workers are replaced, one after the other", ())
    WORKERS_REPLACED = (INFO, "%(workers)d workers were replaced", ())
    WORKER_NOT_REPLACED = (ERROR, "worker %(worker)d stays, and those after it: %(why)s", ())
    ENGINE_STARTED = (INFO, "the private engine has started: %(program)s", ("pid",))
    ENGINE_DIED = (ERROR, "the private engine has died: %(why)s. It is started again in %(seconds)g s", ())
    ENGINE_FAILED = (ERROR, "the private engine cannot be kept: %(why)s", ())
    BACKPLANE_LOST = (ERROR, "the backplane at %(address)s is not available: %(why)s", ())
    BACKPLANE_BACK = (
        INFO,
        "the backplane at %(address)s is available again after %(seconds).1f s, %(frames)d frames later",
        (),
    )
    BACKPLANE_TURNED = (WARNING, "the backplane has lost its data: all channels begin a new epoch", ())
    BACKPLANE_HOLE = (WARNING, "%(frames)d frames of the backplane are lost: histories are asked for", ())
    BACKPLANE_DEAF = (WARNING, "%(frames)d frames of the backplane were not pushed: they are fetched", ())
    SURVEY_FAILED = (ERROR, "a question of another worker was not answered: %(error)s", ())
    KEYS_NOT_FETCHED = (WARNING, "the keys of tokens at %(url)s cannot be fetched, the last ones stay: %(why)s", ())
    TRACE_ENDED = (INFO, "the trace in %(path)s has ended with %(size_bytes)d bytes: %(reason)s", ())
    TRACE_FAILED = (ERROR, "the trace in %(path)s cannot be written: %(error)s", ())
    LEFT_OUT = (WARNING, "%(lines)d lines of the kind %(kind)s were left out", ())
    UNCAUGHT = (ERROR, "nobody caught %(error)s", ())
    LIBRARY = (INFO, "what uvicorn, asyncio or another library logs, at its own level", ())

    def __init__(self, level: int, sentence: str, further: tuple[str, ...]) -> None:
        self.level = level
        self.sentence = sentence
        self.fields = (*dict.fromkeys(_FIELD.findall(sentence)), *further)  # each once

    @property
    def code(self) -> str:
        """The stable name of the event; sentences may change."""
        return self.name.lower()


CODES = {event.code: event for event in Event}  # {code: event}


def log(event: Event, *, error: BaseException | None = None, **fields: object) -> None:
    """Logs `event` with all its fields and the traceback of `error`. Costs little below the logger's level.

    The fields are attributes of the record as well, beside `code`: any formatter can use them.
    """
    if not logger.isEnabledFor(event.level):
        return
    if "error" in event.fields:
        fields["error"] = repr(error)
    named = (fields,) if fields else ()  # logging takes an empty dict for an argument too many
    extra = {"code": event.code, **fields}
    logger.log(event.level, event.sentence, *named, exc_info=error, extra=extra, stacklevel=2)


def event_of(record: logging.LogRecord) -> Event:
    """Returns the event of a record: LIBRARY for foreign records."""
    return CODES.get(str(getattr(record, "code", "")), Event.LIBRARY) if record.name == LOGGER else Event.LIBRARY

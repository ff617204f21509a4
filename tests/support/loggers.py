"""The loggers of a process, which its next test must find as they were."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fanwise.logs.scrubbing import CONNECTION_LOGGER

_NAMES = ("", "fanwise", "uvicorn", "uvicorn.error", CONNECTION_LOGGER, "uvicorn.access", "uvicorn.asgi", "websockets")


@contextmanager
def loggers_as_they_were() -> Iterator[None]:
    """Puts back the levels, handlers and ways of all loggers that our configuration and uvicorn's change."""
    loggers = [logging.getLogger(name) for name in _NAMES]
    before = [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    try:
        yield
    finally:
        for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.handlers, logger.propagate = handlers, propagate

"""HTTP requests and event streams of synchronous tests, on a server of `fanwise.testing`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from itertools import islice
from typing import Any, NamedTuple

from fanwise.testing import Server

SECONDS = 10.0


class Answer(NamedTuple):
    """What a request was answered with."""

    status: int
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Event(NamedTuple):
    """One Server-Sent Event."""

    name: str
    id: str
    data: str


class Events:
    """An open event stream, or the status of a refusal."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self._lines = response

    def __iter__(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.decode().rstrip("\n").partition(":")
            if not name and not value:
                if "data" in fields:
                    yield Event(fields.get("event", "message"), fields.get("id", ""), fields["data"])
                fields = {}
            else:
                fields[name] = value.removeprefix(" ")

    def take(self, events: int) -> list[Event]:
        """The next so many."""
        return list(islice(self, events))


def ask(
    server: Server, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: object = None
) -> Answer:
    """Sends a request, whose body is JSON if there is one, and reads the whole answer."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    data = None if body is None else json.dumps(body)
    given = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, path, data, {**given, **(headers or {})})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return Answer(response.status, text)


@contextmanager
def streaming(server: Server, path: str, *, headers: Mapping[str, str] | None = None) -> Iterator[Events]:
    """An event stream, which is closed at the end of the context."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    connection.request("GET", path, headers=dict(headers or {}))
    response = connection.getresponse()
    try:
        yield Events(response)
    finally:
        response.close()
        connection.close()

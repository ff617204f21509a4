"""One HTTP exchange over a connection of its own, bounded in bytes and in time. h11 writes and reads the messages."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import h11

MOST_HEAD_BYTES: Final = 65_536
_READ_BYTES = 65_536
_HTTP = b"HTTP/"


class NotHTTPError(Exception):
    """The peer's answer is no HTTP, or longer than allowed."""


class Answer:
    """An answer that is being read: all of it within one deadline, however slowly its bytes come.

    Attributes:
        peer: The connection. Its own timeout is what is left of the deadline.
        status: Status of the answer; 101 after a change of protocol.
    """

    def __init__(self, peer: socket.socket, *, ends_at: float) -> None:
        self.peer = peer
        self.status = 0
        self._ends_at = ends_at  # monotonic seconds
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEAD_BYTES)
        self._first = b""  # what the peer has said first, as many bytes as `_HTTP` has

    def send(self, request: h11.Request, body: bytes) -> None:
        """Sends the request.

        Raises:
            OSError: The connection broke, or did not take all bytes in time.
        """
        events = (request, h11.Data(data=body), h11.EndOfMessage())
        sent = b"".join(self._connection.send(event) or b"" for event in events)
        self._set_timeout()
        self.peer.sendall(sent)

    def read_head(self) -> None:
        """Reads the head of the answer, and sets `status`.

        Raises:
            NotHTTPError: The peer says something else, or has more than 64 KiB of headers.
            OSError: The connection broke, or the head did not come in time.
        """
        while not self.status:
            event = self._next()
            if isinstance(event, h11.Response) or (isinstance(event, h11.InformationalResponse) and _switches(event)):
                self.status = event.status_code

    def read_body(self, *, most_bytes: int) -> bytes:
        """Returns the body.

        Raises:
            NotHTTPError: The body has more than `most_bytes`, or ends too early.
            OSError: The connection broke, or the body did not come in time.
        """
        return b"".join(self.parts(most_bytes=most_bytes))

    def parts(self, *, most_bytes: int) -> Iterator[bytes]:
        """Yields the body as it comes. Raises what `read_body` raises."""
        left_bytes = most_bytes
        while not isinstance(event := self._next(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                left_bytes -= len(event.data)
                if left_bytes < 0:
                    raise NotHTTPError(f"its answer has more than {most_bytes:,} bytes")
                yield bytes(event.data)

    def _next(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        try:
            while (event := self._connection.next_event()) is h11.NEED_DATA:
                self._connection.receive_data(self._receive())
        except h11.RemoteProtocolError as error:
            raise NotHTTPError(f"what it says is not HTTP ({error})") from error
        return event

    def _receive(self) -> bytes:
        self._set_timeout()
        data = self.peer.recv(_READ_BYTES)
        self._first += data[: len(_HTTP) - len(self._first)]
        if not self._first:
            raise ConnectionResetError
        if not _HTTP.startswith(self._first):  # h11 would wait for an empty line
            raise h11.RemoteProtocolError("another protocol")
        return data

    def _set_timeout(self) -> None:
        left_seconds = self._ends_at - time.monotonic()
        if left_seconds <= 0:
            raise TimeoutError
        self.peer.settimeout(left_seconds)


@contextmanager
def exchange(
    address: tuple[str, int],
    request: h11.Request,
    body: bytes = b"",
    *,
    context: ssl.SSLContext | None,
    seconds: float,
) -> Iterator[Answer]:
    """Connects, sends a request and reads the head of its answer. The connection is closed with the context.

    Args:
        address: Host and port.
        request: Has a Host header, and a Content-Length if there is a body.
        body: Of the request.
        context: For TLS; None without.
        seconds: From the connection attempt to the end of the answer; each address of a host has as long to connect.

    Raises:
        NotHTTPError: The peer says something else, or has more than 64 KiB of headers.
        OSError: There is no connection, or it broke, or the answer did not come in time.
    """
    ends_at = time.monotonic() + seconds
    with (
        socket.create_connection(address, timeout=seconds) as plain,
        plain if context is None else context.wrap_socket(plain, server_hostname=address[0]) as peer,
    ):
        answer = Answer(peer, ends_at=ends_at)
        answer.send(request, body)
        answer.read_head()
        yield answer


def _switches(event: h11.InformationalResponse) -> bool:
    return event.status_code == HTTPStatus.SWITCHING_PROTOCOLS

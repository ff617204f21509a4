"""A running server, seen from outside: its answers over HTTP, each over a connection of its own."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import h11

from ..errors import FanwiseError, shorten
from .http_exchange import Answer, NotHTTPError, exchange

STATS_VERSION: Final = 1  # of the document at /stats
PATIENCE_SECONDS: Final = 10.0  # for a question and its whole answer; a loop that is later than that is broken
_MOST_BYTES: Final = 64 << 20  # of an answer: 10,000 clients on many channels take a tenth of it
_MOST_REFUSAL_BYTES: Final = 65_536
_BAD_HOST: Final = "bad_host"
_KEY_STATUSES: Final = (401, 403)
_ONCE: Final = {"Connection": "close", "Accept": "application/json"}
_TROUBLES: Final[dict[type[OSError], str]] = {  # the first that fits
    ConnectionRefusedError: "nothing listens there",
    TimeoutError: f"it took longer than {PATIENCE_SECONDS:g} s",
    socket.gaierror: "there is no such host",
    ssl.SSLError: "it speaks no TLS there, or another kind of it",
    ConnectionError: "it cut the connection",
}


class RemoteError(FanwiseError):
    """The root of the errors about a server: URL and problem."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url = url
        self.problem = problem


class AddressError(RemoteError):
    """A URL, or a key, that cannot be used."""

    def __str__(self) -> str:
        return self.problem


class UnreachableError(RemoteError):
    """The server does not answer, or not now."""

    def __str__(self) -> str:
        return f"cannot look at {self.url}: {self.problem}"


class ForeignError(RemoteError):
    """Something answers, but not as a Fanwise server does."""

    def __str__(self) -> str:
        return f"{self.url} is not a Fanwise server, or one of another version: {self.problem}"


class KeyRefusedError(RemoteError):
    """The server asks for a key, or for another one."""

    def __str__(self) -> str:
        return f"{self.url} {self.problem}"


class Remote:
    """Asks one server.

    Args:
        url: Of the server: "http://127.0.0.1:8000", with the path that the server is mounted at.
        api_key: The server's key; None without one.
        context: Checks certificates, for https; by default with the system's authorities.
        patience_seconds: How long a question may take, from connecting to the end of its answer.

    Raises:
        AddressError: The URL or the key cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        context: ssl.SSLContext | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.patience_seconds = patience_seconds
        self._parts = check_url(url)
        self.url = url.rstrip("/")
        self.host = self._parts.hostname or ""
        self.authority = self._parts.netloc
        self.secure = self._parts.scheme == "https"
        self.port = self._parts.port or (443 if self.secure else 80)
        self.base = self._parts.path.rstrip("/")
        self.context = (context or ssl.create_default_context()) if self.secure else None
        self.headers = {} if api_key is None else {"Authorization": f"Bearer {check_key(url, api_key)}"}
        self._has_key = api_key is not None

    def websocket_url(self, path: str) -> str:
        """Returns the URL of a WebSocket of the server."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.base}{path}"

    def get(self, path: str) -> Any:
        """Returns the JSON at `path`. Raises a RemoteError without a usable answer."""
        return self._ask("GET", path)

    def post(self, path: str, body: bytes) -> Any:
        """Posts a text; returns the JSON of the answer. Raises a RemoteError without a usable answer."""
        return self._ask("POST", path, body)

    def stats(self, *, everywhere: bool = False) -> dict[str, Any]:
        """Returns the document at /stats. Raises a RemoteError without a usable answer, or for another version.

        `everywhere`: that of all workers, where the server has others.
        """
        document = self.get("/stats?scope=all" if everywhere else "/stats")
        version = document.get("version") if isinstance(document, dict) else None
        if version != STATS_VERSION:
            said = "no version" if version is None else f"version {shorten(str(version))}"
            raise ForeignError(self.url, f"GET /stats has {said}, this command knows {STATS_VERSION}")
        assert isinstance(document, dict)
        return document

    @contextmanager
    def asking(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Iterator[Answer]:
        """Asks a question over a connection of its own; yields the answer, of which the head is read.

        Args:
            method: GET or POST.
            path: Below the server's URL.
            headers: Beside Host, Content-Length and the key.
            body: Of the question.

        Raises:
            UnreachableError: There is no connection, or the answer did not come in time.
            ForeignError: The answer is not HTTP.
        """
        length = {"Content-Length": str(len(body))} if method == "POST" else {}
        fields = {"Host": self.authority, **self.headers, **length, **(headers or {})}
        request = h11.Request(method=method, target=self.base + path, headers=list(fields.items()))
        address = self.host, self.port
        try:
            with exchange(address, request, body, context=self.context, seconds=self.patience_seconds) as answer:
                yield answer
        except OSError as error:
            raise UnreachableError(self.url, describe(error)) from error
        except UnicodeError as error:  # part of a name is longer than names may be
            raise UnreachableError(self.url, _TROUBLES[socket.gaierror]) from error
        except NotHTTPError as error:
            raise ForeignError(self.url, str(error)) from error

    def _ask(self, method: str, path: str, body: bytes = b"") -> Any:
        asked = f"{method} {path.partition('?')[0]}"
        with self.asking(method, path, headers=_ONCE, body=body) as answer:
            if answer.status != HTTPStatus.OK:
                raise self.refusal(asked, answer.status, _read_refusal(answer))
            text = answer.read_body(most_bytes=_MOST_BYTES)
        return self.decode(text, f"its answer to {asked}")

    def refusal(self, asked: str, status: int, body: bytes | bytearray = b"") -> RemoteError:
        """Returns the error for an answer other than 200."""
        if _code_of(body) == _BAD_HOST:
            return UnreachableError(
                self.url, f"it does not answer for this host ({asked}: {status}): FANWISE_ALLOWED_HOSTS names those"
            )
        if status in _KEY_STATUSES:
            key = "refuses the key" if self._has_key else "asks for its key"
            return KeyRefusedError(self.url, f"{key} ({asked}: status {status}): give it as FANWISE_API_KEY")
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return UnreachableError(
                self.url, f"it takes nobody in now: it is full, or about to stop ({asked}: {status})"
            )
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return UnreachableError(self.url, f"it takes no more from this address now ({asked}: {status})")
        return ForeignError(self.url, f"it answers {asked} with status {status}")

    def decode(self, text: str | bytes, what: str) -> Any:
        """Returns the value of a JSON text. Raises ForeignError for other texts."""
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:  # also no UTF-8
            raise ForeignError(self.url, f"{what} is not JSON") from error


def _read_refusal(answer: Answer) -> bytes:
    try:
        return answer.read_body(most_bytes=_MOST_REFUSAL_BYTES)
    except NotHTTPError:  # the status says enough
        return b""


def _code_of(body: bytes | bytearray) -> str:
    """The code in the body of a refusal, {"error": {"code", "message"}}; "" without one."""
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


def check_url(url: str) -> SplitResult:
    """Returns the parts of a URL.

    Raises:
        AddressError: The URL cannot be used.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    plain = url.isascii() and url.isprintable() and " " not in url
    if not usable or not plain or parts.query or parts.fragment or parts.username is not None:
        raise AddressError(url, f"--url is {shorten(url)}: it takes a URL such as http://127.0.0.1:8000")
    return parts


def check_key(url: str, api_key: str) -> str:
    """Returns the key.

    Raises:
        AddressError: The key does not fit into a header.
    """
    if not (api_key.isascii() and api_key.isprintable() and " " not in api_key and api_key):
        raise AddressError(url, "--api-key (FANWISE_API_KEY) takes visible ASCII characters and no space")
    return api_key


def describe(error: OSError) -> str:
    """Returns a connection's error in a few words, without the system's numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted ({error.verify_message})"
    for kind, text in _TROUBLES.items():
        if isinstance(error, kind):
            return text
    return error.strerror or type(error).__name__

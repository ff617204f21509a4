"""Reads WebSocket handshakes that are plain: whole, alone, and without anything that a parser could take in two ways.

All other requests are left to uvicorn's parser, which takes whatever is read here for the same request.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

from .upgrades import UPGRADE_LINE_BYTES

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_SHA1: Final = hashlib.sha1(usedforsecurity=False)  # copied: OpenSSL looks each new one up by its name
_KEY_BYTES: Final = 16
KEY_FIELD: Final = b"\r\nSec-WebSocket-Key: "  # as nearly all clients write it
KEY_CHARS: Final = 24  # of 16 bytes in base64
_START: Final = b"GET /"
_VERSION: Final = "HTTP/1.1"
_LINE_END: Final = b"\r\n"
_HEAD_END: Final = b"\r\n\r\n"
_PRINTABLE: Final = bytes(range(0x20, 0x7F))
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"  # in lower case (RFC 9110 section 5.6.2)
_TARGET: Final = b"!$%&'()*+,-./0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
_OFFER: Final = "sec-websocket-protocol"
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # a token, in any case
# Values of "Connection" that need no reading (RFC 9110 section 7.6.1).
_CONNECTION: Final = frozenset(("Upgrade", "upgrade", "keep-alive, Upgrade"))
# Fields that give a request a body, an answer before the answer, or another meaning.
_UNUSUAL: Final = frozenset(("content-length", "transfer-encoding", "expect", "proxy-connection"))


class Asked(Protocol):
    """A request, as guards and routes look at its head: `starlette.requests.HTTPConnection`, or a `Handshake`."""

    @property
    def headers(self) -> Mapping[str, str]:
        """{name in lower case: its first value}."""

    @property
    def scope(self) -> Mapping[str, Any]:
        """The ASGI scope; of a `Handshake` "scheme", "path" and "subprotocols"."""

    @property
    def query_params(self) -> Mapping[str, str]:
        """{name: its last value}."""


class Handshake:
    """The head of a plain handshake: each of its fields has come once.

    Attributes:
        headers: {name in lower case: value}.
        path: Of the target, as it was sent.
        query: Of the target, as it was sent.
        secure: Whether it came over TLS.
        subprotocols: Those that are offered.
    """

    __slots__ = ("headers", "path", "query", "secure", "subprotocols")

    def __init__(
        self, headers: Mapping[str, str], path: str, query: str, *, secure: bool, subprotocols: Sequence[str]
    ) -> None:
        self.headers = headers
        self.path = path
        self.query = query
        self.secure = secure
        self.subprotocols = subprotocols

    @property
    def scope(self) -> Mapping[str, Any]:
        """What guards look at of an ASGI scope."""
        return {"scheme": "wss" if self.secure else "ws", "path": self.path, "subprotocols": self.subprotocols}

    @property
    def query_params(self) -> Mapping[str, str]:
        """The parameters of the query; the last of each name."""
        if "%" in self.query or "+" in self.query:
            return dict(parse_qsl(self.query, keep_blank_values=True))
        pairs = [part.partition("=") for part in self.query.split("&") if part]
        return {name: value for name, _, value in pairs}


def all_values(asked: Asked, name: str) -> list[str]:
    """Returns all values of a parameter of the query."""
    query = asked.query if isinstance(asked, Handshake) else asked.scope["query_string"].decode("ascii", "replace")
    return [value for given, value in parse_qsl(query, keep_blank_values=True) if given == name]


def read_handshake(data: bytes, *, max_bytes: int, max_fields: int, secure: bool) -> Handshake | None:
    """Returns the handshake that `data` is; None if it is anything else.

    Args:
        data: What has come on a connection so far.
        max_bytes: The largest head.
        max_fields: How many fields a head may have.
        secure: Whether it has come over TLS.
    """
    if not (data.startswith(_START) and data.endswith(_HEAD_END)) or len(data) > min(max_bytes, UPGRADE_LINE_BYTES):
        return None
    request, *lines = data[: -len(_HEAD_END)].decode("latin-1").split("\r\n")
    if len(lines) > max_fields or data.translate(None, _PRINTABLE) != _LINE_END * (len(lines) + 2):
        return None
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        fields[name.lower()] = value
    url, _, version = request[len(_START) - 1 :].partition(" ")
    names = "".join(fields).encode()
    if len(fields) != len(lines) or names.translate(None, _TOKEN) or version != _VERSION:
        return None
    if url.encode().translate(None, _TARGET) or not _is_plain(fields) or b" \r\n" in data or b":  " in data:
        return None
    offers = read_subprotocols([fields[_OFFER].encode()]) if _OFFER in fields else ()
    if offers is None:
        return None
    path, _, query = url.partition("?")
    return Handshake(fields, path, query, secure=secure, subprotocols=offers)


def _is_plain(fields: Mapping[str, str]) -> bool:
    """Whether the fields are those of a handshake (RFC 6455 section 4.2.1), all with a name and a value."""
    return (
        fields.get("connection") in _CONNECTION
        and fields.get("upgrade", "").lower() == "websocket"
        and fields.get("sec-websocket-version") == "13"
        and "host" in fields
        and "" not in fields
        and "" not in fields.values()
        and _UNUSUAL.isdisjoint(fields)
    )


def read_subprotocols(values: Iterable[bytes]) -> list[str] | None:
    """Returns the subprotocols that fields offer; None if one of them is no list of tokens (RFC 6455 section 4.1)."""
    found: list[str] = []
    for value in values:
        names = [one for offer in value.decode("latin-1").split(",") if (one := offer.strip(" \t"))]
        if not names or not all(map(_NAME.fullmatch, names)):
            return None
        found += names
    return found


def accept_value(key: bytes) -> bytes | None:
    """Returns the value of Sec-WebSocket-Accept; None for a key that is not 16 bytes in base64 (RFC 6455 4.2.1)."""
    try:
        if len(a2b_base64(key, strict_mode=True)) != _KEY_BYTES:
            return None
    except binascii.Error:
        return None
    digest = _SHA1.copy()
    digest.update(key + _GUID)
    return b2a_base64(digest.digest(), newline=False)

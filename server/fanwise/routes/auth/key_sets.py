"""Reads sets of keys (RFC 7517): out of files, and from issuers, whose answers are bounded in bytes and in time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.request import HTTPRedirectHandler, Request, build_opener

from jwt import PyJWK, PyJWKSet
from jwt.exceptions import PyJWTError

MOST_BYTES: Final = 262_144  # of a file, or of an answer: hundreds of keys
_PIECE_BYTES: Final = 16_384
_HEADERS: Final = {"Accept": "application/json", "User-Agent": "fanwise"}


def read_file(path: str) -> str:
    """Returns the text of a file, up to its bound. Raises OSError, or ValueError for what is no text."""
    with Path(path).open("rb") as file:
        return file.read(MOST_BYTES).decode()


def read_set(path: str) -> Sequence[PyJWK]:
    """Returns the keys of a set in a file. Raises OSError or ValueError."""
    return parse_set(read_file(path))


def fetch_set(url: str, *, seconds: float) -> Sequence[PyJWK]:
    """Returns the keys of a set behind a URL. Blocks for `seconds`, and for as long again in one reading, at most.

    Raises OSError, or ValueError for an answer that is too large, leads elsewhere, or is no set.
    """
    ends_at = time.monotonic() + seconds
    opener = build_opener(_NoRedirects)
    with opener.open(Request(url, headers=_HEADERS), timeout=seconds) as answer:  # noqa: S310 - open_key_set looks
        found = bytearray()
        while piece := answer.read1(_PIECE_BYTES):
            found += piece
            if len(found) > MOST_BYTES:
                raise ValueError(f"the answer has more than {MOST_BYTES} bytes")
            if time.monotonic() >= ends_at:
                raise TimeoutError(f"the answer is not whole after {seconds:g} s")
    return parse_set(found.decode())


def parse_set(text: str) -> Sequence[PyJWK]:
    """Returns the keys of a set. Raises ValueError."""
    try:
        return PyJWKSet.from_json(text).keys
    except (PyJWTError, ValueError, AttributeError, RecursionError) as error:  # AttributeError: a list
        raise ValueError(f"it is no key set (RFC 7517): {error}") from error


class _NoRedirects(HTTPRedirectHandler):
    """Refuses answers that lead elsewhere: who can answer there could sign tokens."""

    def redirect_request(self, *answer: Any) -> None:
        """Raises ValueError."""
        *_, code, _, _, url = answer  # as urllib calls it: request, body, code, reason, headers, URL
        raise ValueError(f"it leads elsewhere ({code}), to {url[:200]!r}: give that URL, if it is the issuer's")

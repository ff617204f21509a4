"""The entries of a batch: a JSON array, read in turns of the event loop where that would take longer than one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from ..broadcaster.turns import SharedTurn
from ..core.codes import CodedError, ErrorCode
from .json_models import check_size
from .json_session import LARGE_BYTES

MAX_ENTRIES: Final = 1000
# An array with more of these is cut into its entries. One with less is parsed in 2 ms.
_ONE_TURN: Final = {b":": 8192, b"{": 8192, b"[": 8192, b",": 65_536}
_STEP: Final = 512  # tokens between two looks at the clock
# A string, also one without an end; or a character of the structure. Each is read once, from left to right.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_OPENING, _CLOSING, _COMMA, _SPACE = b"[{", b"]}", ord(","), b" \t\r\n"
_NOT_JSON: Final = "the body is not JSON"
_NO_ARRAY: Final = f"the body is a JSON array of at most {MAX_ENTRIES} entries"


async def read_entries(body: bytes, *, max_bytes: int) -> list[Any]:
    """Returns the entries of a batch, parsed.

    Args:
        body: A JSON array.
        max_bytes: The largest payload of an entry. An entry with more structure than that has is not parsed in a body
            that takes several turns.

    Raises:
        CodedError: The body is not JSON, or not such an array.
        OpError: An entry is too big to be parsed.
    """
    try:
        if len(body) > LARGE_BYTES:  # to count its marks takes as long as to parse a small one
            await SharedTurn().give_way()
        if all(body.count(mark) <= count for mark, count in _ONE_TURN.items()):
            entries = orjson.loads(body)
        else:
            entries = await _parse_in_turns(body, max_bytes=max_bytes)
    except orjson.JSONDecodeError as error:
        raise CodedError(ErrorCode.BAD_JSON, f"{_NOT_JSON}: {error}") from error
    if not isinstance(entries, list):
        raise CodedError(ErrorCode.BAD_REQUEST, _NO_ARRAY)
    if len(entries) > MAX_ENTRIES:
        raise CodedError(ErrorCode.BAD_REQUEST, f"{_NO_ARRAY}: this one has {len(entries)}")
    return entries


async def _parse_in_turns(body: bytes, *, max_bytes: int) -> list[Any]:
    entries: list[Any] = []
    turn = SharedTurn()
    for piece in _cut(body.strip(_SPACE)):
        await turn.give_way()
        if piece is not None:
            check_size(piece, max_bytes=max_bytes)
            entries.append(orjson.loads(piece))
            if len(entries) > MAX_ENTRIES:
                raise CodedError(ErrorCode.BAD_REQUEST, f"{_NO_ARRAY}: this one has more")
    return entries


def _cut(text: bytes) -> Iterator[bytes | None]:
    """Yields the text of each element of an array, and None after each 512 tokens. O(bytes).

    Raises:
        CodedError: The text is no array, or its brackets and strings do not make one.
    """
    if not text.startswith(b"["):
        raise CodedError(ErrorCode.BAD_REQUEST, _NO_ARRAY)
    depth, start = 0, 1  # brackets that are open inside of the array; where an element begins
    for number, token in enumerate(_TOKEN.finditer(text, 1), 1):
        if number % _STEP == 0:
            yield None
        mark = text[token.start()]
        depth += (mark in _OPENING) - (mark in _CLOSING)
        if depth < 0 or (depth == 0 and mark == _COMMA):
            if start > 1 or mark == _COMMA or text[1 : token.start()].strip(_SPACE):  # an empty array has no element
                yield text[start : token.start()]
            start = token.end()
        if depth < 0:
            break
    if depth >= 0 or start < len(text):
        raise CodedError(ErrorCode.BAD_JSON, f"{_NOT_JSON}: its brackets or strings have no end, or something follows")

"""The entries of a batch: a JSON array, read in turns of the event loop where that would take longer than one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import orjson
from pydantic import ValidationError

from ..broadcaster.turns import SharedTurn
from ..core.codes import CodedError, ErrorCode
from .json_models import Base64, Channel, Data, Key, Strict, unknown_name
from .json_size import LARGE_BYTES, check_size, check_structure, parse_seconds
from .json_tags import TagsField, check_objects

MAX_ENTRIES: Final = 1000
# An array with more of these is cut into its entries. One with less is parsed in 1 ms, whatever its strings are.
_ONE_TURN: Final = {b":": 4096, b"{": 4096, b"[": 4096, b'"': 8192, b",": 16_384}
_NAMED_CHARACTERS: Final = 64  # of a field's name, in the text of an error
_WINDOW: Final = 1024  # bytes that are cut between two looks at the clock
# What follows a quote, up to the next or to the end of the window, where half an escape may stand.
_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+("|\\?\Z)', re.DOTALL)
_TOKEN: Final = re.compile(rb'"' + _STRING.pattern + rb"|[\[\]{},]", re.DOTALL)  # a string, or a mark of the structure
_OPENING, _CLOSING, _COMMA, _SPACE = b"[{", b"]}", ord(","), b" \t\r\n"
_NOT_JSON: Final = "the body is not JSON"
_NO_ARRAY: Final = f"the body is a JSON array of at most {MAX_ENTRIES} entries"


class Entry(Strict):
    """One publication of a batch."""

    channel: Channel
    data: Data
    key: Key | None = None
    tags: TagsField | None = None
    encoding: Base64 | None = None


def read_entry(fields: Any) -> Entry:
    """Returns an entry of a batch. Too many fields or tags are not given to pydantic, which makes an error of each.

    Raises:
        CodedError: A field is missing, unknown or wrong.
        TagError: A tag is not allowed, or there are too many.
    """
    if isinstance(fields, dict):
        if len(fields) > len(Entry.model_fields):
            raise CodedError(ErrorCode.BAD_ENTRY, f"{unknown_name(fields, Entry)}: unknown")
        check_objects(fields)
    try:
        return Entry.model_validate(fields)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        field = ".".join(map(str, detail["loc"]))[:_NAMED_CHARACTERS] or "entry"
        raise CodedError(ErrorCode.BAD_ENTRY, f"{field}: {detail['msg']}") from error


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
        if await _fits_one_turn(body):
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


async def _fits_one_turn(body: bytes) -> bool:
    """Returns whether a body may be parsed as a whole, in the turn in which this returns."""
    if len(body) <= LARGE_BYTES:
        return True
    turn = SharedTurn()
    for mark, count in _ONE_TURN.items():
        await turn.give_way()  # to count the marks of a small body takes as long as to parse it
        if body.count(mark) > count:
            return False
    await turn.give_way(parse_seconds(len(body)))
    return True


async def _parse_in_turns(body: bytes, *, max_bytes: int) -> list[Any]:
    entries: list[Any] = []
    turn = SharedTurn()
    for piece in _cut(body.strip(_SPACE)):
        await turn.give_way(parse_seconds(len(piece or b"")))
        if piece is not None:
            check_size(piece, max_bytes=max_bytes)
            check_structure(piece)
            entries.append(orjson.loads(piece))
            if len(entries) > MAX_ENTRIES:
                raise CodedError(ErrorCode.BAD_REQUEST, f"{_NO_ARRAY}: this one has more")
    return entries


def _cut(text: bytes) -> Iterator[bytes | None]:
    """Yields the text of each element of an array, and None after each 1,024 bytes. O(bytes).

    Raises:
        CodedError: The text is no array, or its brackets and strings do not make one.
    """
    if not text.startswith(b"["):
        raise CodedError(ErrorCode.BAD_REQUEST, _NO_ARRAY)
    depth, start = 0, 1  # brackets that are open inside of the array; where an element begins
    for at in _marks(text):
        if at is None:
            yield None
            continue
        mark = text[at]
        depth += (mark in _OPENING) - (mark in _CLOSING)
        if depth < 0 or (depth == 0 and mark == _COMMA):
            if start > 1 or mark == _COMMA or text[1:at].strip(_SPACE):  # an empty array has no element
                yield text[start:at]
            start = at + 1
        if depth < 0:
            break
    if depth >= 0 or start < len(text):
        raise CodedError(ErrorCode.BAD_JSON, f"{_NOT_JSON}: its brackets or strings have no end, or something follows")


def _marks(text: bytes) -> Iterator[int | None]:
    """Yields the places of brackets, braces and commas outside of strings, and None after each 1,024 bytes."""
    at, in_string = 1, False
    while at < len(text):
        end = min(at + _WINDOW, len(text))
        if in_string:
            last = _STRING.match(text, at, end)
            at = last.end() if last is not None else end
        else:
            last = None
            for last in _TOKEN.finditer(text, at, end):
                if last[1] is None:
                    yield last.start()
            at = end
        rest = b'"' if last is None or last[1] is None else last[1]
        in_string = rest != b'"'
        if rest == b"\\" and end < len(text):
            at -= 1  # the escape is read whole
        yield None

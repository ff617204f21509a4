from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.broadcaster.node import Node
from fanwise.broadcaster.turns import Turn
from fanwise.core.codes import CodedError
from fanwise.routes import batch
from fanwise.routes.batch import MAX_ENTRIES, read_entries

from .test_json_session import serving

pytestmark = pytest.mark.anyio

MAX_BYTES = 65_536
KEYS = b"[{" + b",".join(b'"%x":1' % number for number in range(110_000)) + b"}]"
FIELDS = b",".join(b'"k%d":1' % number for number in range(50))
DENSE = b"[" + b",".join([b'{"channel":"a","data":{%s}}' % FIELDS] * 500) + b"]"  # 26,000 keys in small entries


async def code_of(body: bytes, *, max_bytes: int = MAX_BYTES) -> str:
    try:
        await read_entries(body, max_bytes=max_bytes)
    except CodedError as error:
        return error.code
    return ""


SCALARS = st.none() | st.booleans() | st.integers(-10, 10) | st.text()
# Small ones: they take a tenth of the time to make, and what is deep is deep in a list of two.
VALUES = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=2) | st.dictionaries(st.text(), one, max_size=2), max_leaves=8
)


@given(st.lists(VALUES, max_size=4), st.sampled_from([None, 1]))
async def test_cutting_and_parsing_agree(entries: list[Any], indent: int | None) -> None:
    """Whatever strings, brackets and escapes an array has, its elements are those that a parser finds."""
    body = json.dumps(entries, indent=indent).encode()
    assert [json.loads(piece) for piece in batch._cut(body) if piece and piece.strip()] == entries


@given(st.text('\\"a,[', max_size=20), st.integers(0, 12), st.sampled_from(["", "\\", '"']))
async def test_a_window_may_end_anywhere(text: str, before: int, last: str) -> None:
    """In a string or an escape: strings are read on behind it."""
    entries = ["x" * before + text * 9 + last, [text], text]
    body = json.dumps(entries).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "_WINDOW", 8)
        assert [json.loads(piece) for piece in batch._cut(body) if piece and piece.strip()] == entries


@pytest.mark.parametrize(
    "long",
    [b'"' + b"x" * 1_000_000 + b'"', b'"' + rb"\n" * 500_000 + b'"', b'"' + b"x" * 1_000_000, b" " * 1_000_000],
    ids=["string", "escapes", "no end", "spaces"],
)
def test_a_kilobyte_is_cut_between_two_looks(long: bytes) -> None:
    """Whatever it is made of: a megabyte without a mark took 8 ms."""
    pieces: list[bytes | None] = []
    with pytest.raises(CodedError):
        pieces.extend(batch._cut(b"[" + long + b"]]"))
    assert pieces.count(None) >= 1_000_000 // 1_024


@pytest.mark.parametrize("entry", [b'"%06d"', b"%d.5e100"], ids=["strings", "numbers"])
async def test_a_body_of_many_small_values_is_parsed_in_pieces(entry: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """65,000 different strings took 6 ms to parse at once, and as many numbers 3 ms."""
    parsed: list[int] = []
    loads = orjson.loads

    def load(piece: bytes) -> Any:
        parsed.append(len(piece))
        return loads(piece)

    monkeypatch.setattr(orjson, "loads", load)
    one = b'{"channel":"a","data":[' + b",".join(entry % number for number in range(500)) + b"]}"
    assert len(await read_entries(b"[" + b",".join([one] * 100) + b"]", max_bytes=MAX_BYTES)) == 100
    assert parsed == [len(one)] * 100


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_json"),
        (b"[", "bad_json"),
        (b"[1,]", "bad_json"),
        (b"[,1]", "bad_json"),
        (b"[1] 2", "bad_json"),
        (b"[1]]", "bad_json"),
        (b'[{"a":1]', "bad_json"),
        (b'[{"a":1]}', "bad_json"),
        (b'["a]', "bad_json"),
        (b'["\\', "bad_json"),
        (b"[1 2]", "bad_json"),
        (b"[" + b"[" * 2000 + b"]" * 2000 + b"]", "bad_json"),
        (b"{}", "bad_request"),
        (b'"a"', "bad_request"),
        (b"[" + b"1," * MAX_ENTRIES + b"1]", "bad_request"),
        (b" [ ] \n", ""),
        (b'[1, "]", {"a": "\\"["}]', ""),
        (b"[" + b"1," * (MAX_ENTRIES - 1) + b"1]", ""),
    ],
)
async def test_a_body_that_is_no_array_is_refused(
    dense: bool, body: bytes, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one turn or in several, with one code."""
    if dense:
        monkeypatch.setattr(batch, "_ONE_TURN", {b"[": -1})
        monkeypatch.setattr(batch, "LARGE_BYTES", 0)
    found = await code_of(body)
    assert found == code or (dense and {found, code} == {"bad_json", "bad_request"} and not body.startswith(b"["))


async def test_a_body_with_much_structure_is_parsed_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks at the clock there are few tokens, and at most one entry of a bounded size."""
    looks, parsed = 0, []
    give_way, loads = Turn.give_way, orjson.loads

    async def look(turn: Turn, seconds: float = 0.0) -> None:
        nonlocal looks
        looks += 1
        await give_way(turn, seconds)

    def load(piece: bytes) -> Any:
        parsed.append(len(piece))
        return loads(piece)

    monkeypatch.setattr(Turn, "give_way", look)
    monkeypatch.setattr(orjson, "loads", load)
    entries = await read_entries(DENSE, max_bytes=MAX_BYTES)
    assert len(entries) == len(parsed) == 500
    assert max(parsed) < 1000
    assert looks > 500 + len(DENSE) / 40_000


async def test_an_entry_is_bounded_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """110,000 keys took 90 ms to parse and 170 ms to be refused one by one."""
    monkeypatch.setattr(orjson, "loads", None)
    assert await code_of(KEYS) == "too_big"


async def test_a_batch_of_keys_publishes_nothing() -> None:
    """Over HTTP: one counted refusal; an entry with unknown keys fails alone, and its error is short."""
    broadcaster = Node()
    async with serving(broadcaster) as live:
        answer = await live.request("POST", "/publish", KEYS, headers={"Content-Type": "application/json"})
        assert (answer.status, answer.code) == (413, "too_big")
        few = (
            b'[{"channel":"a","data":1,'
            + b",".join(b'"%05d":1' % n for n in range(5000))
            + b'},{"channel":"a","data":2}]'
        )
        answer = await live.request("POST", "/publish", few, headers={"Content-Type": "application/json"})
        first, second = answer.json["results"]
        assert first == {"error": {"code": "bad_entry", "message": "00000: unknown"}}
        assert second["offset"] == 1

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.logs.scrubbing import Scrubber, escape, hide_query_string, shorten_refusal


def test_what_is_not_to_be_printed_is_escaped() -> None:
    """Every control character, separator of lines, mark of direction and half of a character; and nothing else."""
    kept = {chr(point) for point in range(0x11000) if escape(chr(point)) == chr(point)}
    categories = {"Cc", "Zl", "Zp", "Cs"}
    assert {unicodedata.category(char) for char in kept} & categories == set()
    directions = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert {unicodedata.bidirectional(char) for char in kept} & directions == set()
    escaped = {char for char in map(chr, range(0x11000)) if char not in kept} - {"\u061c", "\u200e", "\u200f"}
    assert {unicodedata.category(char) for char in escaped} <= {*categories, "Cf"}
    assert all(unicodedata.category(char) != "Cf" or unicodedata.bidirectional(char) in directions for char in escaped)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb\x07", "a\\x1b[31mb\\x07"),
        ("a\r\n2026-01-01T00:00:00.000Z INFO started: forged", "a\\r\\n2026-01-01T00:00:00.000Z INFO started: forged"),
        ("\x7f\x85\u2028\u202e\ud800", "\\x7f\\x85\\u2028\\u202e\\ud800"),
        ("héllo 世界 🎉 \u00a0", "héllo 世界 🎉 \u00a0"),
    ],
)
def test_escapes_are_readable(text: str, shown: str) -> None:
    """As Python writes them: one line stays one line, and other alphabets stay themselves."""
    assert escape(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the key is correct-horse.", "the key is ***."),
        ('"WebSocket /ws?token=a&b=c" [accepted]', '"WebSocket /ws?***" [accepted]'),
        ("at /sse/a?since=1:2 and on", "at /sse/a?*** and on"),
        ("did you mean it? yes", "did you mean it? yes"),
        ("unexpected fanwise.key.YWJj-_= here", "unexpected fanwise.key.*** here"),
        ("got Bearer abc.def", "got Bearer ***"),
        ("< Authorization: Basic YTpi", "< Authorization: ***"),
        ("{'x-api-key': 'abc', 'a': 1}", "{'x-api-key': '***"),
        ("Cookie: a=b; c=d\nnext", "Cookie: ***\\nnext"),
    ],
)
def test_secrets_are_hidden(text: str, shown: str) -> None:
    """The server's own, and what looks like somebody's: query strings, keys, headers that carry one."""
    assert Scrubber(["correct-horse"]).clean(text, 1000) == shown


KEYS = st.from_regex(r"[A-Ya-z0-9._~+/-]{8,64}={0,3}", fullmatch=True)  # what `settings` takes, but for our mark
WRITINGS: list[Callable[[str], str]] = [
    str,
    repr,
    lambda text: repr(text.encode()),
    lambda text: repr(ValueError(text)),
    lambda text: repr(ValueError(f"a 'quoted' one: {text}")),
    lambda text: repr(ValueError(f'a "quoted" one, isn\'t it: {text}')),
    lambda text: repr(ValueError(repr(ValueError({"a": text})))),
    lambda text: json.dumps({"a": text}),
    lambda text: json.dumps(json.dumps([text])),
    lambda text: repr(json.dumps([text])),
    lambda text: orjson.dumps([text]).decode(),
    lambda text: json.dumps(text).replace("/", "\\/"),
    quote,
    lambda text: quote(text, safe=""),
    lambda text: quote(text, safe="!'()*"),
    quote_plus,
    lambda text: repr(quote(text, safe="!'()*")),
    lambda text: urlencode({"a": text}),
    lambda text: repr(repr(repr(text))),
]


@given(KEYS, st.sampled_from(WRITINGS))
def test_a_secret_is_hidden_however_it_is_written(key: str, write: Callable[[str], str]) -> None:
    """Whatever characters of RFC 6750 it is made of: in an error, in an error's error, in JSON, in a URL. All of it."""
    assert Scrubber([key]).hide(write(f"Z{key}Z")).split("Z")[1:-1] == ["***"]


@pytest.mark.parametrize("key", ["cor/rect+horse==", "~~~~~~~~", "/////////", "a.b-c_d~e"])
def test_escapes_do_not_uncover_it(key: str) -> None:
    """Each way of writing, with the keys that change most; and escapes of all of its characters, in either case."""
    escaped = "".join(f"%{ord(character):02X}" for character in key)
    for text in [*(write(f"Z{key}Z") for write in WRITINGS), f"Z{escaped}Z", f"Z{escaped.lower()}Z"]:
        assert Scrubber([key]).hide(text).split("Z")[1:-1] == ["***"]


def test_no_secret_hides_nothing() -> None:
    """An empty one would hide everything."""
    assert Scrubber([""]).hide("hello") == "hello"


@pytest.mark.parametrize("key", ["/" * 200, "a" + "/" * 200, "~" * 200, "+a" * 100])
@pytest.mark.parametrize("piece", ["\\", "/", "\\/", "a", "%2F", "%"])
def test_hostile_texts_take_no_time_with_any_key(key: str, piece: str) -> None:
    """Not even those that are made of what it is made of."""
    assert len(Scrubber([f"{key}!"]).clean(piece * (20_000_000 // len(piece)), 1000)) <= 1003


def test_long_texts_are_cut() -> None:
    """A text at its end, with a mark; a traceback at its beginning. A secret is hidden before it can be cut in two."""
    scrubber = Scrubber(["secret"])
    assert scrubber.clean("x" * 600, 500) == "x" * 500 + "..."
    assert scrubber.clean("x" * 500, 500) == "x" * 500
    assert scrubber.clean("x" * 497 + "secret", 500) == "x" * 497 + "***"
    assert scrubber.clean_lines("first\nsecond\n  last\x1b", 12) == ["cond", "  last\\x1b"]
    assert scrubber.clean_lines("\n", 10) == []


@pytest.mark.parametrize("piece", ["/", "?", "a?", "fanwise.key.", "Bearer ", "cookie", "authorization ", "\x1b", "a "])
def test_hostile_texts_take_no_time(piece: str) -> None:
    """Twenty million characters would take minutes if any pattern went back and forth; most are not even read."""
    assert len(Scrubber().clean(piece * (20_000_000 // len(piece)), 1000)) <= 1003


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        ('%s - "WebSocket %s" [accepted]', ("1.2.3.4:5", "/ws?token=secret"), ("1.2.3.4:5", "/ws")),
        ("other %s", ("/ws?token=secret",), ("/ws?token=secret",)),
    ],
)
def test_query_strings_stay_out_of_the_log(message: str, args: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """A token in a URL does not reach it; other records are left alone."""
    record = logging.LogRecord("uvicorn.error", logging.INFO, "", 0, message, args, None)
    assert hide_query_string(record)
    assert record.args == expected


def test_settings_that_an_engine_refuses_are_a_line() -> None:
    """Other tracebacks stay."""
    line = "backplane redis://h:6379: WRONGPASS"
    for error, says in ((f"fanwise.errors.SettingsError: {line}", line), ("ValueError: x", None)):
        text = f"Traceback (most recent call last):\n  File ...\n{error}\n"
        record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 1, text, (), None)
        assert shorten_refusal(record)
        assert record.msg == (says or text)

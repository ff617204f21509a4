from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.backplane.frames import pack, read_frame, read_head, read_text
from fanwise.backplane.port import Arrival, Outgoing
from fanwise.core.publication import Kind

keys = st.none() | st.text(st.characters(codec=None), max_size=9)
tags = st.none() | st.sampled_from([{"s": "EUR"}, {"city": "Köln 🌍", "empty": ""}, {"q": '"\\ '}])


@given(st.lists(st.tuples(st.binary(max_size=30), st.sampled_from(Kind), keys, tags), max_size=5))
def test_a_frame_is_read_as_it_was_made(
    parts: list[tuple[bytes, Kind, str | None, dict[str, str] | None]],
) -> None:
    """As an engine makes it of what it was given."""
    texts, arrivals = [], []
    for offset, (payload, kind, key, about) in enumerate(parts, 1):
        line, body = pack(Outgoing("a:b", payload, kind, key, tags=about))
        texts.append(b"e1 %d 1234 a:b %b\n%b" % (offset, line, body))
        arrivals.append(Arrival("a:b", "e1", offset, payload, kind, key, 1234, tags=about))
    sizes = b" ".join(b"%d" % len(text) for text in texts)
    frame = b"17 4 abcdef %b\n%b" % (sizes, b"".join(texts))
    head = read_head(frame)
    assert (head.generation, head.number, len(head.sizes)) == (17, 4, len(parts))
    assert [one for several in read_frame(frame, head) for one in several.each()] == arrivals


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"e\n",
        b"e 1\n",
        b" \n",
        b"e 1 2 c T",
        b"e 1 2 c\n",
        b"e x 2 c T\n",
        b"e 1 2 c X\n",
        b"e 1 2 c T x\n",
        b"e 1 2 c T t9\n[]",
        b"e 1 2 c T t2\n[]",
        b"e 1 2 c T s\n",
        b"e 1 2 c T s00-00\n",
    ],
)
def test_what_is_no_text_is_an_error(text: bytes) -> None:
    """And not a publication of something else."""
    with pytest.raises((ValueError, KeyError)):
        read_text(text)

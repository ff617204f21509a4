from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.backplane.nats.messages import Head, channel_of, read, token_of, write
from fanwise.backplane.port import Arrival, Outgoing
from fanwise.core.publication import Kind

keys = st.none() | st.text(st.characters(codec=None), max_size=9)


@given(st.lists(st.tuples(st.binary(max_size=30), st.sampled_from(Kind), keys), max_size=5))
def test_a_message_is_read_as_it_was_written(parts: list[tuple[bytes, Kind, str | None]]) -> None:
    """Behind the head that it was written for."""
    head = Head("e1", 7, 30, 1000)
    message = read("a.b", 31, 1234, write(head, "w:5", [Outgoing("a.b", *part) for part in parts]))
    assert message.arrivals == [
        Arrival("a.b", "e1", offset, payload, kind, key, 1234) for offset, (payload, kind, key) in enumerate(parts, 8)
    ]
    size = 1000 + sum(len(payload) for payload, *_ in parts)
    assert message.head == Head("e1", 7 + len(parts), 31, size)
    assert (message.previous, message.mark, message.first, message.size_before) == (30, "w:5", 8, 1000)


@pytest.mark.parametrize(
    "data", [b"", b"e 1 0 0 m 4\n", b"e x 0 0 m \n", b"e 1 0 m\n", b"e 1 0 0 m 3\nX\na", b"e 1 0 0 m 5\nT x\na"]
)
def test_what_is_no_message_is_an_error(data: bytes) -> None:
    """And not a publication of something else."""
    with pytest.raises((ValueError, KeyError)):
        read("c", 1, 2, data)


@pytest.mark.parametrize("channel", ["lobby", "a.b..c.", ".", "a:b/c-d_e"])
def test_a_channel_is_one_token_of_a_subject(channel: str) -> None:
    """Whatever dots are in its name."""
    assert "." not in token_of(channel)
    assert channel_of(f"fanwise.c.0f.{token_of(channel)}".encode()) == channel

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanwise.tools.bench.load.payload import MIN_BYTES, Payloads

PAYLOADS = Payloads("abcd1234", size_bytes=128)


@given(st.integers(1, 10**10 - 1), st.integers(0, 10**18), st.sampled_from([MIN_BYTES, 64, 1000, 70_000]))
def test_what_is_built_is_read(sequence: int, sent_ns: int, size_bytes: int) -> None:
    """At any size, and wherever it stands in a frame."""
    payloads = Payloads("abcd1234", size_bytes=size_bytes)
    built = payloads.build(sequence, sent_ns)
    assert len(built) == size_bytes
    data = b"Message: " + built + b'"}'
    assert payloads.read(data, data.find(payloads.start), len(data)) == (sequence, sent_ns)


@given(st.integers(1, 9), st.integers(0, 10**18))
def test_messages_may_have_sizes_of_their_own(sequence: int, sent_ns: int) -> None:
    """By their sequence; one that is cut or stretched to another's size is not whole."""
    payloads = Payloads("abcd1234", size_bytes=64, sizes={2: MIN_BYTES, 3: 1000, 4: 70_000})
    built = payloads.build(sequence, sent_ns)
    assert len(built) == {2: MIN_BYTES, 3: 1000, 4: 70_000}.get(sequence, 64)
    assert payloads.read(built, 0, len(built)) == (sequence, sent_ns)
    assert payloads.read(built, 0, len(built) - 1) is None


@given(st.integers(0, 127), st.integers(1, 255))
@example(10, 16)  # a leading zero becomes a space
def test_any_wrong_byte_is_seen(index: int, change: int) -> None:
    """In the token, the sequence, the time or the filler."""
    built = bytearray(PAYLOADS.build(1234, 987_654_321))
    built[index] ^= change
    found = built.find(PAYLOADS.start)
    assert found < 0 or PAYLOADS.read(built, found, len(built)) is None


@given(st.sampled_from([*range(10, 20), *range(21, 40)]), st.integers(1, 9))
def test_any_wrong_digit_is_seen_with_the_least_filler(index: int, change: int) -> None:
    """One byte is enough to check the digits of the sequence and of the time."""
    payloads = Payloads("abcd1234", size_bytes=MIN_BYTES)
    built = bytearray(payloads.build(1234, 987_654_321))
    built[index] = 48 + (built[index] - 48 + change) % 10
    assert payloads.read(built, 0, len(built)) is None


@pytest.mark.parametrize("cut", [1, 30, 90])
def test_a_message_cut_short_is_seen(cut: int) -> None:
    """What follows in the buffer is not taken for its end."""
    built = PAYLOADS.build(7, 7)
    assert PAYLOADS.read(built + built, 0, len(built) - cut) is None


def test_another_run_is_none_of_ours() -> None:
    """The token tells runs and channels apart."""
    assert PAYLOADS.build(1, 1).find(Payloads("zzzz9999", size_bytes=128).start) < 0

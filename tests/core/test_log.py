from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.core.encoding import plain_frame
from fanwise.core.log import Entry, Log
from fanwise.core.publication import Kind


def make_log(*, max_messages: int = 1000, max_bytes: int = 1_000_000) -> Log:
    return Log("lobby", epoch="e", max_messages=max_messages, max_bytes=max_bytes)


def append(log: Log, *payloads: bytes) -> None:
    for payload in payloads:
        log.append(payload, kind=Kind.TEXT, time=0.0)


def payloads_after(log: Log, cursor: int, *, max_bytes: int = 1 << 30, until: int | None = None) -> list[bytes]:
    return [publication.payload for publication in log.read(cursor, max_bytes=max_bytes, until=until)]


def test_offsets_are_dense() -> None:
    """The first publication has offset 1, each next one more."""
    log = make_log()
    append(log, b"a", b"b", b"c")
    assert [publication.offset for publication in log.read(0, max_bytes=99)] == [1, 2, 3]
    assert (log.first, log.head, len(log), log.retained_bytes) == (1, 3, 3, 3)


def test_an_empty_log() -> None:
    """Before the first publication there is nothing to read, and the first offset is the one to come."""
    log = make_log()
    assert (log.first, log.head, len(log)) == (1, 0, 0)
    assert log.read(0, max_bytes=99) == []


def test_reading_stops_at_the_bounds() -> None:
    """A read ends at `until`, at `max_bytes` or at the head, and always gets on."""
    log = make_log()
    append(log, b"aa", b"bb", b"cccc")
    assert payloads_after(log, 0, max_bytes=4) == [b"aa", b"bb"]
    assert payloads_after(log, 0, max_bytes=5) == [b"aa", b"bb"]
    assert payloads_after(log, 0, max_bytes=1) == [b"aa"]
    assert payloads_after(log, 2, max_bytes=1) == [b"cccc"]
    assert payloads_after(log, 0, until=2) == [b"aa", b"bb"]
    assert payloads_after(log, 2, until=2) == []
    assert payloads_after(log, 3) == []


def test_what_is_dropped_cannot_be_read() -> None:
    """A cursor behind the oldest retained publication is an error, not a silent gap."""
    log = make_log(max_messages=2)
    append(log, b"a", b"b", b"c")
    assert payloads_after(log, 1) == [b"b", b"c"]
    with pytest.raises(IndexError):
        log.read(0, max_bytes=99)
    with pytest.raises(IndexError):
        log.read(4, max_bytes=99)


def test_the_newest_always_stays() -> None:
    """One publication above the byte limit is retained alone."""
    log = make_log(max_bytes=3)
    append(log, b"a", b"large")
    assert payloads_after(log, 1) == [b"large"]
    assert len(log) == 1


@given(
    sizes=st.lists(st.integers(0, 50), max_size=400),
    max_messages=st.integers(1, 150),
    max_bytes=st.integers(1, 2000),
    read_bytes=st.integers(1, 300),
)
def test_against_a_plain_list(sizes: list[int], max_messages: int, max_bytes: int, read_bytes: int) -> None:
    """Whatever is appended, the log retains what a list cut by the same rule does, and counts its bytes rightly."""
    log = make_log(max_messages=max_messages, max_bytes=max_bytes)
    model: list[tuple[int, bytes]] = []
    for offset, size in enumerate(sizes, 1):
        append(log, bytes([offset % 251]) * size)
        model.append((offset, bytes([offset % 251]) * size))
        while len(model) > 1 and (len(model) > max_messages or sum(len(p) for _, p in model) > max_bytes):
            model.pop(0)
    assert len(log) == len(model)
    assert log.retained_bytes == sum(len(payload) for _, payload in model)
    for cursor in range(log.first - 1, log.head + 1):
        rest = [(offset, payload) for offset, payload in model if offset > cursor]
        assert log.bytes_after(cursor) == sum(len(payload) for _, payload in rest)
        got = [(publication.offset, publication.payload) for publication in log.read(cursor, max_bytes=read_bytes)]
        assert got == rest[: len(got)]
        taken = sum(len(payload) for _, payload in got)
        assert taken <= read_bytes or len(got) == 1
        if len(got) < len(rest):
            assert not got or taken + len(rest[len(got)][1]) > read_bytes


def test_what_is_old_is_dropped_but_for_the_newest() -> None:
    """By the time at which it was appended."""
    log = make_log(max_messages=100, max_bytes=1000)
    for time in range(10):
        log.append(b"x", kind=Kind.TEXT, time=float(time))
    log.expire(4.0)
    assert (log.first, len(log)) == (5, 6)
    log.expire(4.0)
    assert len(log) == 6
    log.expire(1e9)
    assert (log.first, len(log), log.retained_bytes) == (10, 1, 1)


def test_what_is_too_old_is_known_and_stays() -> None:
    """Each look takes in what has become too old since; a cut log, or one without publications, is no trouble."""
    log = make_log(max_messages=100)
    log.age(1.0)
    for second in range(100):
        log.append(b"x", kind=Kind.TEXT, time=float(second))
    stale = []
    for second in (0, 1, 30, 30, 20):
        log.age(second)
        stale.append(log.stale)
    assert stale == [0, 1, 30, 30, 30]
    log.trim(max_messages=20, max_bytes=1000)
    log.age(70.0)
    assert (log.stale, log.first) == (30, 81), "what is gone need not be looked at"
    log.age(90.5)
    assert log.stale == 91
    log.age(1000.0)
    assert log.stale == log.head == 100


def test_how_much_came_since_a_time() -> None:
    """As far as the log reaches back; it says from when on that is all."""
    log = make_log(max_messages=5)
    assert log.since(3.0) == (0, 0, 3.0)
    for second in range(10):
        log.append(b"12", kind=Kind.TEXT, time=float(second))
    assert log.since(7.5) == (2, 4, 7.5)
    assert log.since(1.0) == (5, 10, 5.0)
    assert log.since(10.0) == (0, 0, 10.0)


def test_it_knows_when_a_publication_came() -> None:
    """Or the oldest that is retained, where that one has gone."""
    log = make_log()
    for time in range(1, 5):
        log.append(b"x", kind=Kind.TEXT, time=float(time))
    assert [log.time_at(offset) for offset in (1, 4)] == [1.0, 4.0]
    log.trim(max_messages=2, max_bytes=1000)
    assert [log.time_at(offset) for offset in (1, 3, 4)] == [3.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("max_messages", "max_bytes"), [(100, 10_000), (1, 10_000), (0, 10_000), (1000, 50), (60, 100)]
)
@pytest.mark.parametrize("cut", [1, 40, 120, 299])
def test_several_publications_at_once_are_as_many_one_after_another(
    max_messages: int, max_bytes: int, cut: int
) -> None:
    """Also where the oldest are dropped for them, by number or by bytes, and with what they kept."""
    payloads = [b"%d" % number for number in range(300)]
    one_by_one, at_once = (make_log(max_messages=max_messages, max_bytes=max_bytes) for _ in range(2))
    append(one_by_one, *payloads)
    for some in (payloads[:cut], payloads[cut:]):
        at_once.extend(some, kind=Kind.TEXT, time=0.0)
    for log in (one_by_one, at_once):
        assert (log.head, log.end, len(log), log.extra_bytes) == (300, 790, len(one_by_one), 0)
        assert (log.first, log.retained_bytes) == (one_by_one.first, one_by_one.retained_bytes)
        assert payloads_after(log, log.first - 1) == payloads[log.first - 1 :]


def test_publications_that_go_at_once_take_what_they_kept_along() -> None:
    """Keys and encodings are no longer counted."""
    log = make_log(max_messages=10)
    log.append(b"x", kind=Kind.TEXT, time=0.0, key="key")
    log.extend([b"y"] * 5, kind=Kind.TEXT, time=0.0)
    for publication in log.read(0, max_bytes=1000):
        publication.encoded(plain_frame)
    kept = log.extra_bytes
    assert kept > 0
    log.extend([b"z"] * 9, kind=Kind.TEXT, time=0.0)
    assert 0 < log.extra_bytes < kept
    log.extend([b"z"] * 10, kind=Kind.TEXT, time=0.0)
    assert log.extra_bytes == 0


def test_nothing_is_no_publication() -> None:
    """The log stays as it was."""
    log = make_log()
    with pytest.raises(IndexError):
        log.extend([], kind=Kind.TEXT, time=0.0)
    assert (log.head, log.end, len(log)) == (0, 0, 0)


@given(
    start=st.integers(0, 40),
    appended=st.integers(0, 150),
    older=st.integers(0, 40),
    kept=st.integers(1, 120),
    max_messages=st.integers(1, 150),
)
def test_older_publications_come_before_the_oldest(
    start: int, appended: int, older: int, kept: int, max_messages: int
) -> None:
    """As if the log had begun earlier: as many as its bounds allow, the newest of them, and byte counts stay right."""
    log = Log("lobby", epoch="e", max_messages=max_messages, max_bytes=1000, start=start)
    whole = [b"%d" % offset for offset in range(1, start + appended + 1)]
    append(log, *whole[start:])
    assert (log.head, log.first) == (start + appended, start + appended + 1 - min(appended, max_messages))
    log.trim(max_messages=kept, max_bytes=1000)
    first, count = log.first, min(older, log.first - 1)
    log.prepend([Entry(data, Kind.TEXT, 0.0, "k") for data in whole[first - 1 - count : first - 1]])
    assert first - log.first == min(count, max(0, max_messages - (log.head - first + 1)))
    assert payloads_after(log, log.first - 1) == whole[log.first - 1 :]
    assert log.retained_bytes == log.bytes_after(log.first - 1) == sum(map(len, whole[log.first - 1 :]))
    assert log.extra_bytes == 4 * (first - log.first)
    append(log, b"next")
    assert payloads_after(log, log.first - 1) == [*whole, b"next"][log.first - 1 :]
    assert [one.offset for one in log.read(log.first - 1, max_bytes=9999)] == list(range(log.first, log.head + 1))


def test_publications_that_have_no_offset_are_refused() -> None:
    """Before offset 1 there is nothing."""
    log = Log("lobby", epoch="e", max_messages=9, max_bytes=99, start=1)
    with pytest.raises(ValueError, match="2 publications do not fit before offset 2"):
        log.prepend([Entry(b"a", Kind.TEXT, 0.0, None)] * 2)

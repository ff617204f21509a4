from __future__ import annotations

import pytest

from fanwise.client.backoff import HINT_CAP_SECONDS, Backoff, may_reconnect, restart_hint_seconds, retry_after_seconds
from fanwise.core.reasons import CloseReason


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    """Attempt n waits at most base * 2**n, and never more than the cap."""
    backoff = Backoff(base_seconds=0.5, cap_seconds=3.0, random=lambda: 1.0)
    assert [backoff.next_seconds() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_jitter_is_full() -> None:
    """What is drawn is a part of the whole ceiling, down to nothing."""
    draws = iter([0.0, 0.25, 0.5])
    backoff = Backoff(base_seconds=1.0, cap_seconds=60.0, random=lambda: next(draws))
    assert [backoff.next_seconds() for _ in range(3)] == [0.0, 0.5, 2.0]


def test_reset_begins_again() -> None:
    """After a good connection the first attempt is quick again."""
    backoff = Backoff(base_seconds=1.0, cap_seconds=60.0, random=lambda: 1.0)
    backoff.next_seconds()
    backoff.reset()
    assert backoff.next_seconds() == 1.0


def test_an_outage_of_days_overflows_nothing() -> None:
    """Thousands of attempts stay at the cap."""
    backoff = Backoff(base_seconds=1.0, cap_seconds=60.0, random=lambda: 1.0)
    assert [backoff.next_seconds() for _ in range(5000)][-1] == 60.0


@pytest.mark.parametrize(("base", "cap"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_bounds_that_make_no_sense(base: float, cap: float) -> None:
    """The error names both."""
    with pytest.raises(ValueError, match=f"base_seconds={base}.*cap_seconds={cap}"):
        Backoff(base_seconds=base, cap_seconds=cap, random=lambda: 0.5)


@pytest.mark.parametrize("reason", CloseReason)
def test_the_client_heeds_the_servers_table(reason: CloseReason) -> None:
    """Every code that the server closes with means to the client what the table says."""
    assert may_reconnect(reason.code) is reason.reconnect


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(1001, True), (1005, True), (1008, False), (3000, True), (4000, True), (4499, True), (4500, False), (4999, False)],
)
def test_codes_beyond_the_table(code: int, verdict: bool) -> None:
    """4000-4499 come back, 4500-4999 do not; of the protocol's own, those do not that say we broke a rule."""
    assert may_reconnect(code) is verdict


@pytest.mark.parametrize(
    ("code", "text", "seconds"),
    [
        (1012, '{"reason":"restart","retry_ms":742}', 0.742),
        (1012, '{"retry_ms":0}', 0.0),
        (1012, '{"retry_ms":1e300}', HINT_CAP_SECONDS),
        (1012, "restart", None),
        (1012, "", None),
        (1012, "[742]", None),
        (1012, "742", None),
        (1012, '{"retry_ms":-1}', None),
        (1012, '{"retry_ms":true}', None),
        (1012, '{"retry_ms":"742"}', None),
        (1013, '{"retry_ms":742}', None),
    ],
)
def test_the_restart_hint(code: int, text: str, seconds: float | None) -> None:
    """Only a close with 1012 carries one, and only a number of milliseconds is one."""
    assert restart_hint_seconds(code, text) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5.0), (" 7 ", 7.0), (None, 0.0), ("", 0.0), ("-1", 0.0), ("1.5", 0.0), ("9" * 400, HINT_CAP_SECONDS)],
)
def test_retry_after(value: str | None, seconds: float) -> None:
    """Whole seconds, within reason; what is no number of seconds asks for nothing."""
    assert retry_after_seconds(value) == seconds


def test_retry_after_as_a_date_asks_for_nothing() -> None:
    """Backoff alone decides then."""
    assert retry_after_seconds("Wed, 21 Oct 2026 07:28:00 GMT") == 0.0

from __future__ import annotations

import pytest

from fanwise.core.reasons import CloseReason, failure


@pytest.mark.parametrize("reason", CloseReason)
def test_each_reason_can_be_sent(reason: CloseReason) -> None:
    """A text fits into a close frame (RFC 6455 section 5.5: 125 bytes with the code); codes tell whether to return."""
    assert len(reason.text.encode()) <= 123
    assert 1000 <= reason.code < 5000
    if reason.code >= 4000:
        assert reason.reconnect == (reason.code < 4500)


def test_no_code_means_two_things() -> None:
    """Codes are unique."""
    assert len({reason.code for reason in CloseReason}) == len(CloseReason)


def test_a_failed_connection_has_the_reason_of_its_code() -> None:
    """A code of another kind, or none, is a loss."""
    found = [failure(code) for code in (1002, 1007, 1009, 1000, 4008, None)]
    assert found == [
        CloseReason.PROTOCOL_ERROR,
        CloseReason.BAD_TEXT,
        CloseReason.TOO_BIG,
        CloseReason.LOST,
        CloseReason.LOST,
        CloseReason.LOST,
    ]

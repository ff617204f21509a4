from __future__ import annotations

import pytest

from server.errors import (
    ChannelLimitError,
    ChannelNameError,
    ClientError,
    ClosedError,
    DialectError,
    FanwiseError,
    FullError,
    GoneError,
    MessageTooBigError,
    NotConnectedError,
    NotRunningError,
    PayloadError,
    PositionError,
    PublishError,
    RefusedError,
    SettingsError,
    SubscribeError,
    UnconfirmedError,
)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ChannelNameError("a b"), "'a b'"),
        (ChannelNameError("x" * 300), "1 to 255 characters"),
        (MessageTooBigError(size_bytes=11, limit_bytes=10), "11 bytes, 10 are allowed"),
        (NotRunningError(), "lifespan"),
        (FullError(limit_clients=3), "all 3 places"),
        (ChannelLimitError(limit_channels=3), "all 3 channels"),
        (GoneError(), "closed"),
        (PositionError("x" * 300), "'epoch:offset'"),
        (PayloadError({1, 2}, "not serializable"), "type set"),
        (SettingsError(["one", "two"]), "one\ntwo"),
    ],
)
def test_each_error_names_what_is_wrong(error: FanwiseError, says: str) -> None:
    """Each error is a FanwiseError whose sentence carries its data."""
    assert says in str(error)


def test_a_long_channel_name_is_shown_in_part() -> None:
    """What a stranger chose does not fill our log."""
    assert len(str(ChannelNameError("x" * 100_000))) < 200


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RefusedError(status=403, text="no"), "refused with status 403: no"),
        (RefusedError(status=0, text=""), "refused: without a word"),
        (ClosedError(code=4503, reason="closed by an operator"), "with 4503: closed by an operator"),
        (ClosedError(code=1000, reason=""), "closed with 1000"),
        (NotConnectedError(url="ws://x", seconds=0.5, last="refused"), "from ws://x within 0.5 seconds (refused)"),
        (UnconfirmedError(channel="a", why="lost"), "may or may not have been published: lost"),
        (PublishError(channel="a", code="too_big", message="no"), "not published to channel 'a': no (too_big)"),
        (SubscribeError(channel="a", code="bad_channel", message="no"), "not subscribed to channel 'a': no"),
        (DialectError(what="no JSON", frame="x" * 1000), "no JSON in 'xxx"),
    ],
)
def test_each_error_of_the_client(error: ClientError, says: str) -> None:
    """Likewise, and all of them are caught with one name."""
    assert says in str(error)
    assert isinstance(error, FanwiseError)

from __future__ import annotations

import pickle

import pytest

from fanwise.errors import (
    BeginningError,
    ChannelFullError,
    ChannelLimitError,
    ChannelNameError,
    FanwiseError,
    FullError,
    GoneError,
    MessageTooBigError,
    NoChannelError,
    NotRunningError,
    OptionsError,
    PayloadError,
    PositionError,
    ProblemError,
    SettingsError,
    TagError,
    ThreadError,
    UserError,
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
        (ChannelFullError("a", limit_clients=3), "all 3 places on channel 'a'"),
        (NoChannelError("a"), "channel 'a' does not exist"),
        (OptionsError(["one", "two"]), "one; two"),
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


@pytest.mark.parametrize("error", [BeginningError("no"), TagError("no"), ThreadError("no"), UserError("no")])
def test_a_sentence_that_was_written_where_it_is_raised(error: ProblemError) -> None:
    """Also after pickling, as between processes."""
    assert (str(error), error.problem) == ("no", "no")
    assert str(pickle.loads(pickle.dumps(error))) == "no"

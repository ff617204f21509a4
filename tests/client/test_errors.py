from __future__ import annotations

import pytest

from fanwise.client.errors import (
    BatchError,
    ClientError,
    ClosedError,
    DialectError,
    NotConnectedError,
    PresenceError,
    PublishError,
    RefusedError,
    SubscribeError,
    TokenError,
    UnconfirmedError,
)
from fanwise.errors import FanwiseError


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RefusedError(status=403, text="no"), "refused with status 403: no"),
        (RefusedError(status=0, text=""), "refused: without a word"),
        (TokenError("it was late"), "no token: it was late"),
        (PresenceError(channel="a", code="forbidden", message="no"), "no presence of channel 'a': no (forbidden)"),
        (BatchError([ClosedError(code=1000, reason="")]), "message 1: the connection is closed with 1000"),
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

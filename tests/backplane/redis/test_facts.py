from __future__ import annotations

import pytest

from fanwise.backplane.redis.facts import _pushed_bytes


@pytest.mark.parametrize(
    ("limits", "size"),
    [("normal 0 0 0 replica 268435456 67108864 60 pubsub 33554432 8388608 60", 33_554_432), ("normal 0 0 0", None)],
)
def test_the_room_for_a_server_that_stands_still(limits: str, size: int | None) -> None:
    """The hard limit of those that subscribe; an engine that does not tell it is not judged."""
    assert _pushed_bytes(limits) == size

from __future__ import annotations

import orjson
import pytest

from fanwise import User
from fanwise.core.presence import Presence
from fanwise.routes.presence_json import MEMBERS_BYTES, presence_json

pytestmark = pytest.mark.anyio


async def test_an_answer_has_a_bound() -> None:
    """Users with a kilobyte each: as many as fit, and the answer says that there are more."""
    users = [User(f"user-{number}", "x" * 1000) for number in range(1_000)]
    text = await presence_json(Presence("a", 5, 1_000, users, truncated=False), op="presence")
    answer = orjson.loads(text)
    assert (len(text) < MEMBERS_BYTES + 1_000, len(answer["members"]), answer["truncated"]) == (True, 63, True)


@pytest.mark.parametrize("truncated", [True, False])
async def test_an_answer_says_whether_it_is_whole(*, truncated: bool) -> None:
    """As it was found."""
    found = Presence("a", 1, 1, [User("ada", None)], truncated=truncated)
    assert orjson.loads(await presence_json(found)) == {
        "channel": "a",
        "clients": 1,
        "users": 1,
        "members": [{"id": "ada", "info": None}],
        "truncated": truncated,
    }

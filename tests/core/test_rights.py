from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from fanwise.core.codes import CodedError, ErrorCode
from fanwise.core.rights import (
    HISTORY,
    OPERATE,
    PRESENCE,
    PUBLISH,
    SUBSCRIBE,
    Action,
    Allow,
    Authorise,
    Rights,
    User,
    as_user,
)
from fanwise.errors import ChannelNameError, UserError

pytestmark = pytest.mark.anyio


async def allows(rights: Rights, action: Action, channel: str = "a") -> bool:
    try:
        await rights.check_all(channel, action)
    except CodedError as error:
        return (error.code, repr(channel) in str(error)) != (ErrorCode.FORBIDDEN, True)
    return True


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (("",), "1 to 255 characters"),
        (("x" * 256,), "1 to 255 characters"),
        ((7,), "a str of 1 to 255 characters, not 7"),
        (("a", {1, 2}), "the info of user 'a' is not JSON"),
        (("a", "x" * 1023), "1025 bytes of JSON, 1024 are allowed"),
        (("\ud800",), "is not JSON"),
        (("a", None, "soon"), "the end of user 'a' is a number of seconds, not 'soon'"),
        (("a", None, float("nan")), "not nan"),
    ],
)
def test_a_user_that_cannot_be_one(wrong: tuple[Any, ...], says: str) -> None:
    """The error says what is wrong, and what is allowed."""
    with pytest.raises(UserError, match=says):
        User(*wrong)


def test_users_by_their_ids() -> None:
    """An id is a user without info; a user with info can be counted in a set."""
    ada = User("ada", {"name": "Ada"})
    assert (as_user(None), as_user("ada"), as_user(ada)) == (None, User("ada"), ada)
    assert len({ada, User("ada", {"name": "Ada"}), User("bob")}) == 2


async def test_without_rules_everything_is_allowed() -> None:
    """But names of channels are checked all the same."""
    rights = Rights.of("ada")
    assert not rights
    assert rights.check(PUBLISH, "a") is None
    with pytest.raises(ChannelNameError):
        rights.check(PUBLISH, "no good")


@pytest.mark.parametrize(
    ("channels", "names"),
    [
        (["a"], {"a"}),
        ("a", {"a"}),
        (["room.*", "a"], {"a", "room.1", "room."}),
        (["*"], {"a", "b", "room.1", "room.", "room"}),
        ([], set()),
    ],
)
async def test_channels_of_a_user(channels: list[str] | str, names: set[str]) -> None:
    """Names, and beginnings of names, for each action."""
    rights = Rights.of("ada", channels=channels)
    for action in Action:
        found = {name for name in ("a", "b", "room.1", "room.", "room") if await allows(rights, action, name)}
        assert found == names


@pytest.mark.parametrize("wrong", ["no good", "a**", "", "x" * 256])
def test_channels_that_cannot_be(wrong: str) -> None:
    """A pattern that would never match is an error and no surprise."""
    with pytest.raises(ChannelNameError):
        Rights.of("ada", channels=[wrong])


ON_CHANNELS = [action for action in Action if action is not OPERATE]


async def soon(answer: bool) -> bool:
    return answer


forgetful: Any = lambda _user, _channel: None  # noqa: E731 - as careless as its name
ANSWERS: dict[str, tuple[Allow, bool]] = {
    "True": (True, True),
    "False": (False, False),
    "a function": (lambda user, channel: user == User("ada") and channel == "a", True),
    "a function that says no": (lambda _user, _channel: False, False),
    "a function that forgot": (forgetful, False),
    "a coroutine": (lambda _user, channel: soon(channel == "a"), True),
    "a coroutine that says no": (lambda _user, _channel: soon(False), False),
}


@pytest.mark.parametrize(("allow", "answer"), ANSWERS.values(), ids=list(ANSWERS))
@pytest.mark.parametrize("action", ON_CHANNELS)
async def test_each_right_is_asked_for_its_action(action: Action, allow: Allow, answer: bool) -> None:
    """And for no other one."""
    given: dict[str, Any] = {"may_presence": True, f"may_{action}": allow}
    rights = Rights.of("ada", **given)
    found = {one: await allows(rights, one) for one in ON_CHANNELS}
    assert found == {one: one is not action or answer for one in ON_CHANNELS}


async def test_who_may_listen_may_see_who_else_does() -> None:
    """Unless that is said otherwise."""
    rights = Rights.of("ada", may_subscribe=lambda _user, channel: channel == "a")
    assert [await allows(rights, PRESENCE, channel) for channel in "ab"] == [True, False]


async def test_to_operate_is_a_right_of_the_whole_server() -> None:
    """It has no channel, and none of the rights of channels gives it."""
    asked: list[tuple[Action, str]] = []

    def authorise(_user: User | None, action: Action, channel: str) -> bool:
        asked.append((action, channel))
        return len(asked) > 1

    rights = Rights.of("ada", authorise=authorise)
    with pytest.raises(CodedError, match="no right to operate the server"):
        await rights.check_operator()
    await rights.check_operator()
    assert asked == [(OPERATE, "")] * 2
    with pytest.raises(CodedError):
        await Rights.of("ada", may_publish=lambda *_: True, authorise=authorise).check_operator()


@pytest.mark.parametrize(("allow", "answer"), ANSWERS.values(), ids=list(ANSWERS))
async def test_who_may_listen_may_see_who_is_there(allow: Allow, answer: bool) -> None:
    """Unless that is said otherwise."""
    assert await allows(Rights.of("ada", may_subscribe=allow), Action.PRESENCE) is answer


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("waits", [True, False])
async def test_all_rules_have_to_say_yes(first: bool, waits: bool) -> None:
    """One after another, synchronous or not; a rule behind a no is not asked."""
    asked: list[str] = []

    def rule(name: str, answer: bool) -> Authorise:
        def ask(_user: User | None, _action: Action, _channel: str) -> bool | Awaitable[bool]:
            asked.append(name)
            return soon(answer) if waits else answer

        return ask

    assert await allows(Rights(None, [rule("one", first), rule("two", True)]), SUBSCRIBE) is first
    assert asked == (["one", "two"] if first else ["one"])
    assert await allows(Rights(None, [rule("one", True), rule("two", first)]), HISTORY) is first


def test_what_is_synchronous_has_nothing_to_wait_for() -> None:
    """A client without a task stays without one."""
    assert Rights.of("ada", may_publish=lambda _user, _channel: True).check(PUBLISH, "a") is None

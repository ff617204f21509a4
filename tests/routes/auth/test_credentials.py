"""What a request has brought, and what that is enough for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from fanwise.core.codes import CodedError, ErrorCode
from fanwise.core.rights import LISTENING, OPERATE, PUBLISH, Action, User
from fanwise.core.roles import NO_ROLES, ROLES, Role
from fanwise.routes.auth.credentials import Credentials, Read, TokenRights
from fanwise.routes.auth.grants import Grant, Patterns

EVERYTHING = Patterns(["*"])


def grant(*, user: str = "ann", seconds: float = 3_600) -> Grant:
    return Grant(User(user, expires_at=time.time() + seconds), EVERYTHING, EVERYTHING, operate=True)


def allowed(credentials: Credentials) -> set[Action] | None:
    """What is allowed on a channel; None: who is this?"""
    try:
        return {action for action in Action if credentials.allow(None, action, "a")}
    except CodedError as error:
        return None if error.code is ErrorCode.UNAUTHORISED else set()


@pytest.mark.parametrize(
    ("read", "roles", "given", "actions"),
    [
        (Read.OPEN, NO_ROLES, None, None),
        (Read.OPEN, {Role.PUBLISH}, None, {PUBLISH, *LISTENING}),
        (Read.OPEN, NO_ROLES, grant(), set(Action)),
        (Read.KEY, ROLES, None, set(Action)),
        (Read.KEY, {Role.OPERATE}, None, {OPERATE}),
        (Read.KEY, NO_ROLES, grant(), {PUBLISH, OPERATE}),
        (Read.KEY, {Role.READ}, grant(), set(Action)),
        (Read.TOKEN, NO_ROLES, grant(), set(Action)),
        (Read.TOKEN, NO_ROLES, grant(seconds=-1), set()),
        (Read.TOKEN, {Role.READ}, None, LISTENING),
        (Read.TOKEN, NO_ROLES, None, None),
    ],
)
def test_what_is_enough(read: Read, roles: set[Role], given: Grant | None, actions: set[Action] | None) -> None:
    """A role of the key, or what the token names while it lasts."""
    credentials = Credentials(read, frozenset(roles), given)
    assert allowed(credentials) == actions
    assert credentials.is_due is (read is Read.TOKEN and actions is None)


def test_who_may_see_the_names_of_all_channels() -> None:
    """Where reading asks for something: readers with a key, and operators."""
    assert Credentials(Read.OPEN, NO_ROLES).allow_list(None, OPERATE, "")
    assert Credentials(Read.TOKEN, frozenset({Role.READ})).allow_list(None, OPERATE, "")
    assert Credentials(Read.TOKEN, NO_ROLES, grant()).allow_list(None, OPERATE, "")
    reader = Grant(User("ann"), EVERYTHING, EVERYTHING)
    assert not Credentials(Read.TOKEN, NO_ROLES, reader).allow_list(None, OPERATE, "")


class Reader:
    """Takes every text for the token of that user."""

    keys: Any = None

    async def admit(self, token: str, verifier: Callable[[int], float]) -> Grant:
        assert verifier(1) == 0.0
        return grant(user=token)


@pytest.mark.anyio
async def test_a_connection_keeps_its_user() -> None:
    """The first token names the user where nothing else has."""
    credentials = Credentials(Read.TOKEN, NO_ROLES)
    rights = TokenRights(Reader(), lambda _: 0.0, credentials, [credentials.allow])
    dues = [rights.is_due]
    assert (await rights.authenticate("ann")).id == "ann"
    dues.append(rights.is_due)
    assert dues == [True, False]
    before: Grant | None = credentials.grant
    with pytest.raises(CodedError, match="another user"):
        await rights.authenticate("bob")
    assert (credentials.grant, rights.user and rights.user.id) == (before, "ann")
    await rights.authenticate("ann")
    assert credentials.grant is not before

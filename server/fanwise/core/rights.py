"""Who a client is, and what it may do: functions of the application, asked each time that something is to be done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from inspect import isawaitable
from math import isfinite
from typing import Any, Final, Self, TypeAlias

import orjson

from ..errors import UserError
from .codes import CodedError, ErrorCode
from .publication import check_channel_name

MAX_ID_CHARACTERS: Final = 255
MAX_INFO_BYTES: Final = 1024
_ALL: Final = "*"  # at the end of a name: every channel that begins so


class Action(StrEnum):
    """What a user does on a channel. A stream that begins after a position asks for `subscribe` and for `history`.

    To operate is to see or change the whole server: the channel is then an empty text.
    """

    SUBSCRIBE = "subscribe"
    HISTORY = "history"
    PUBLISH = "publish"
    PRESENCE = "presence"
    OPERATE = "operate"


# As globals: CPython 3.11 makes a call of each attribute of an enum.
SUBSCRIBE, HISTORY, PUBLISH = Action.SUBSCRIBE, Action.HISTORY, Action.PUBLISH
PRESENCE, OPERATE = Action.PRESENCE, Action.OPERATE
LISTENING: Final = frozenset((SUBSCRIBE, HISTORY, PRESENCE))
SERVER: Final = ""  # the channel of `operate`


@dataclass(frozen=True, slots=True)
class User:
    """The user of a client. Operators see id and info.

    Args:
        id: 1 to 255 characters: equal for all clients of one user.
        info: What others may know of the user: a JSON value of at most 1,024 bytes.
        expires_at: When clients of the user are closed with 4013, in seconds since 1970; None: never.

    Raises:
        UserError: The id, the info or the time is not allowed.
    """

    id: str
    info: Any = field(default=None, hash=False)
    expires_at: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Checks the fields."""
        if not isinstance(self.id, str) or not 0 < len(self.id) <= MAX_ID_CHARACTERS:
            raise UserError(f"the id of a user is a str of 1 to {MAX_ID_CHARACTERS} characters, not {self.id!r:.80}")
        if self.expires_at is not None and not _is_time(self.expires_at):
            raise UserError(f"the end of user {self.id!r:.80} is a number of seconds, not {self.expires_at!r:.80}")
        try:
            size = len(orjson.dumps(self.info))
            orjson.dumps(self.id)
        except orjson.JSONEncodeError as error:
            raise UserError(f"the info of user {self.id!r:.80} is not JSON: {error}") from error
        if size > MAX_INFO_BYTES:
            raise UserError(f"the info of user {self.id!r:.80} has {size} bytes of JSON, {MAX_INFO_BYTES} are allowed")


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def as_user(user: User | str | None) -> User | None:
    """Returns the user of an id. Raises UserError for an id that is not allowed."""
    return user if user is None or isinstance(user, User) else User(user)


Answer: TypeAlias = bool | Awaitable[bool]
Allow: TypeAlias = Callable[[User | None, str], Answer] | bool
"""Whether a user may do something on a channel: a function of both, or the answer for all channels."""
Authorise: TypeAlias = Callable[[User | None, Action, str], Answer]
"""Whether a user may do an action on a channel."""


class Rights:
    """What one user may do. Owns the invariant that nothing is allowed unless all rules say yes at that time.

    Args:
        user: The user; None: unknown.
        rules: Functions that are asked one after another, synchronous or not.
    """

    __slots__ = ("_rules", "user")

    def __init__(self, user: User | None, rules: Iterable[Authorise] = ()) -> None:
        self.user = user
        self._rules = tuple(rules)

    @classmethod
    def of(
        cls,
        user: User | str | None,
        *,
        channels: Iterable[str] | None = None,
        may_subscribe: Allow = True,
        may_history: Allow = True,
        may_publish: Allow = True,
        may_presence: Allow | None = None,
        authorise: Authorise | None = None,
    ) -> Self:
        """Returns the rights of a user.

        Args:
            user: The user, or its id.
            channels: The only channels of the user: names, or beginnings of names with `*` behind; None: all.
            may_subscribe: Whether the user may listen to a channel.
            may_history: Whether the user may also get what was published before.
            may_publish: Whether the user may publish to a channel.
            may_presence: Whether the user may see who else is on a channel; None: as `may_subscribe`.
            authorise: Asked in addition, for every action.

        Raises:
            ChannelNameError: One of `channels` is neither a name nor the beginning of one.
            UserError: The id is not allowed.
        """
        rules: list[Authorise] = []
        if channels is not None:
            rules.append(_among([channels] if isinstance(channels, str) else channels))
        if not (may_subscribe is may_history is may_publish is True and may_presence in (None, True)):
            seen = may_subscribe if may_presence is None else may_presence
            reads = {SUBSCRIBE: may_subscribe, HISTORY: may_history, PRESENCE: seen}
            rules.append(partial(_ask, {**reads, PUBLISH: may_publish}))
        if authorise is not None:
            rules.append(authorise)
        return cls(as_user(user), rules)

    def and_also(self, rule: Authorise) -> Rights:
        """Returns rights with another rule, which is asked behind all others."""
        return Rights(self.user, (*self._rules, rule))

    def __bool__(self) -> bool:
        """Returns whether there is a rule at all."""
        return bool(self._rules)

    def check(self, action: Action, channel: str) -> Coroutine[Any, Any, None] | None:
        """Checks that the user may do `action` on `channel`; returns what has to be awaited for that, if anything.

        Raises, or the coroutine does:
            ChannelNameError: The channel's name is not allowed; no rule was asked.
            CodedError: A rule says no.
        """
        check_channel_name(channel)
        for behind, rule in enumerate(self._rules, 1):
            answer = rule(self.user, action, channel)
            if isawaitable(answer):
                return self._await(answer, behind, action, channel)
            if not answer:
                raise forbidden(action, channel)
        return None

    async def check_all(self, channel: str, *actions: Action) -> None:
        """Checks that the user may do all of `actions` on `channel`. Raises what `check` raises."""
        for action in actions:
            waits = self.check(action, channel)
            if waits is not None:
                await waits

    async def check_operator(self) -> None:
        """Checks that the user may operate the server. Raises CodedError, and what rules raise."""
        await self._await(_yes(), 0, OPERATE, SERVER)

    async def _await(self, answer: Awaitable[bool], behind: int, action: Action, channel: str) -> None:
        """Goes on with the rules from `behind` on when the one before has answered."""
        allowed = await answer
        for rule in self._rules[behind:]:
            if not allowed:
                break
            more = rule(self.user, action, channel)
            allowed = await more if isawaitable(more) else more
        if not allowed:
            raise forbidden(action, channel)


async def _yes() -> bool:
    return True


def forbidden(action: Action, channel: str) -> CodedError:
    """Returns the refusal of an action on a channel, whose name is allowed."""
    place = f"channel {channel[:64]!r}" if channel else "the server"
    return CodedError(ErrorCode.FORBIDDEN, f"this user has no right to {_DOES[action]} {place}")


_DOES: Final = {
    SUBSCRIBE: "subscribe to",
    HISTORY: "read what was published before to",
    PUBLISH: "publish to",
    PRESENCE: "see who is on",
    OPERATE: "operate",
}


def _ask(allows: dict[Action, Allow], user: User | None, action: Action, channel: str) -> Answer:
    allow = allows.get(action, False)  # to operate is not a right of single channels
    return allow if isinstance(allow, bool) else allow(user, channel)


def _among(patterns: Iterable[str]) -> Authorise:
    names, beginnings = set(), []
    for pattern in patterns:
        beginning = pattern.removesuffix(_ALL)
        if pattern != _ALL:
            check_channel_name(beginning)
        if beginning == pattern:
            names.add(pattern)
        else:
            beginnings.append(beginning)
    begins = tuple(beginnings)
    return lambda _user, _action, channel: channel in names or channel.startswith(begins)

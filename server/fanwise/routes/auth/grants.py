"""Grants: what a token gives to its user, and until when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.rights import LISTENING, PUBLISH, Action, User


class Patterns:
    """Names of channels: whole ones, and beginnings, which end with an asterisk.

    Args:
        patterns: Such as "chat.general", "chat.*" and "*".
    """

    __slots__ = ("_beginnings", "_names")

    def __init__(self, patterns: Sequence[str]) -> None:
        self._names = frozenset(one for one in patterns if not one.endswith("*"))
        self._beginnings = tuple(one[:-1] for one in patterns if one.endswith("*"))

    def match(self, channel: str) -> bool:
        """Returns whether a channel is among them. O(beginnings)."""
        return channel in self._names or channel.startswith(self._beginnings)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token gives.

    Attributes:
        user: Whom it is for (`sub`, `info`), and when clients of the token are closed.
        subscribe: The channels that the user may read.
        publish: The channels that the user may publish to.
        operate: Whether the user may operate the server.
    """

    user: User
    subscribe: Patterns
    publish: Patterns
    operate: bool = False

    def allows(self, action: Action, channel: str) -> bool:
        """Returns whether the user may do `action` on `channel`, which is empty for `operate`. O(beginnings)."""
        if action in LISTENING:
            return self.subscribe.match(channel)
        return self.publish.match(channel) if action is PUBLISH else self.operate

    @property
    def has_expired(self) -> bool:
        """Whether the token's time is over."""
        return self.user.expires_at is not None and self.user.expires_at <= time.time()

"""The users on a channel, as a client sees them: a list that it asks for, and changes that it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from .fields import number_of, text_of


@dataclass(frozen=True, slots=True)
class Member:
    """A user on a channel, once however many connections the user has.

    Attributes:
        id: The user's id.
        info: What others may know of the user: a JSON value.
    """

    id: str
    info: Any = None


@dataclass(frozen=True, slots=True)
class Presence:
    """The users on a channel at one time.

    Attributes:
        channel: The channel's name.
        clients: How many connections are on the channel.
        users: How many users they belong to.
        members: The users, as many as the server lists.
        truncated: Whether `members` leaves users out.
        request: The number of the question.
    """

    channel: str
    clients: int
    users: int
    members: tuple[Member, ...]
    truncated: bool
    request: int | str | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """A user came to a channel, or the info of one that is there has changed."""

    channel: str
    id: str
    info: Any = None


@dataclass(frozen=True, slots=True)
class Leave:
    """The last connection of a user has left a channel."""

    channel: str
    id: str


@dataclass(frozen=True, slots=True)
class PresenceGap:
    """Users came and left without a `Join` or a `Leave` each. A program that lists the members asks for them again.

    Attributes:
        channel: The channel's name.
        users: How many users are on the channel; None after a lost connection.
    """

    channel: str
    users: int | None = None


Change: TypeAlias = Join | Leave | PresenceGap


def encode_presence(channel: str, request: int) -> str:
    """Asks who is on a channel."""
    return orjson.dumps({"op": "presence", "channel": channel, "id": request}).decode()


def presence_of(fields: dict[str, Any]) -> Presence:
    """Returns the answer in a frame. Raises KeyError or TypeError, as the next ones do, where a field is wrong."""
    members = fields["members"]
    if not isinstance(members, list) or not isinstance(fields["truncated"], bool):
        raise TypeError("members is no list, or truncated no boolean")
    users = tuple(Member(text_of(member, "id"), member.get("info")) for member in members)
    clients, total = number_of(fields, "clients"), number_of(fields, "users")
    return Presence(text_of(fields, "channel"), clients, total, users, fields["truncated"], fields.get("id"))


def join_of(fields: dict[str, Any]) -> Join:
    """Returns the arrival of a user."""
    return Join(text_of(fields, "channel"), text_of(fields, "id"), fields.get("info"))


def leave_of(fields: dict[str, Any]) -> Leave:
    """Returns the departure of a user."""
    return Leave(text_of(fields, "channel"), text_of(fields, "id"))


def presence_gap_of(fields: dict[str, Any]) -> PresenceGap:
    """Returns the sign that changes were not told one by one."""
    return PresenceGap(text_of(fields, "channel"), number_of(fields, "users"))

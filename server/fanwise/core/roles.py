"""Keys of the server and their roles: what the text of `FANWISE_API_KEY` says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

MOST_KEYS: Final = 8
_KEY: Final = re.compile(r"(?=.{8,255}\Z)[A-Za-z0-9._~+/-]+=*")  # b64token, RFC 6750 section 2.1


class Role(StrEnum):
    """What a key is for."""

    PUBLISH = "publish"
    OPERATE = "operate"
    READ = "read"


ROLES: Final = frozenset(Role)
NO_ROLES: Final[frozenset[Role]] = frozenset()


def read_keys(text: str) -> Mapping[str, frozenset[Role]]:
    """Returns {key: its roles}: of "KEY", which has all roles, or of "KEY,publish+read:KEY", with eight keys at most.

    Raises:
        ValueError: A key or a role cannot be used, or a key comes twice; quotes no key.
    """
    parts = text.split(",")
    if len(parts) > MOST_KEYS:
        raise ValueError(f"there are {len(parts)} keys, {MOST_KEYS} are allowed")
    found: dict[str, frozenset[Role]] = {}
    for part in parts:
        names, colon, key = part.strip().rpartition(":")
        if _KEY.fullmatch(key) is None:
            raise ValueError("a key takes 8 to 255 letters, digits and -._~+/ of ASCII, and = at its end (RFC 6750)")
        if key in found:
            raise ValueError("a key stands there twice")
        found[key] = _read_roles(names.split("+")) if colon else ROLES
    return MappingProxyType(found)


def _read_roles(names: Iterable[str]) -> frozenset[Role]:
    if not set(names) <= ROLES:
        raise ValueError(f"the roles in front of a key are some of {', '.join(Role)}, with + between them")
    return frozenset(map(Role, names))


def key_with(role: Role, text: str | None) -> str | None:
    """Returns the first key of `text` with a role; `text` itself if it has none, or is no list of keys."""
    try:
        keys = {} if text is None else read_keys(text)
    except ValueError:
        return text
    return next((key for key, roles in keys.items() if role in roles), text)

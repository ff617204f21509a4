from __future__ import annotations

import pytest

from fanwise.core.roles import ROLES, Role, key_with, read_keys

KEY, OTHER = "correct-horse", "battery+staple=="


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (KEY, {KEY: ROLES}),
        (f"{KEY}, {OTHER}", {KEY: ROLES, OTHER: ROLES}),
        (f"read:{KEY},operate+publish:{OTHER}", {KEY: {Role.READ}, OTHER: {Role.OPERATE, Role.PUBLISH}}),
    ],
)
def test_keys_and_their_roles(text: str, keys: dict[str, set[Role]]) -> None:
    """A key without roles has all."""
    assert read_keys(text) == keys


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "8 to 255 letters"),
        ("short", "8 to 255 letters"),
        (f"{KEY},", "8 to 255 letters"),
        (f"{KEY},{KEY}", "twice"),
        (f"dance:{KEY}", "some of publish, operate, read"),
        (f":{KEY}", "some of publish, operate, read"),
        (f"publish,{KEY}", "8 to 255 letters"),
        (",".join(f"key-number-{number}" for number in range(9)), "9 keys, 8 are allowed"),
    ],
)
def test_a_text_that_is_none(text: str, why: str) -> None:
    """The error says what is allowed, and quotes no key."""
    with pytest.raises(ValueError, match=why) as error:
        read_keys(text)
    assert KEY not in str(error.value)


def test_the_key_for_a_purpose() -> None:
    """Commands take the first that will do; what is no list of keys is a key of another server."""
    text = f"publish:{KEY},operate:{OTHER}"
    assert [key_with(role, text) for role in (Role.PUBLISH, Role.OPERATE, Role.READ)] == [KEY, OTHER, text]
    assert (key_with(Role.READ, "x"), key_with(Role.READ, None)) == ("x", None)

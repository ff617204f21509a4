"""Reads a file of TOML, and compares its keys with those that are known."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from ..errors import SettingsError, shorten

MOST_BYTES: Final = 16_777_216
_LIKE_CHARACTERS: Final = 64  # of a name that is compared with others


def read_toml(path: str, *, named: str) -> dict[str, Any]:
    """Returns what is in a file.

    Args:
        path: Its path.
        named: What has named it, for errors.

    Raises:
        SettingsError: It is no file, cannot be read, is no TOML, or has more than 16 MiB.
    """
    problem = f"{named} is {path!r}: "
    file = Path(path).expanduser()
    if not file.is_file():
        raise SettingsError([f"{problem}there is no such file"])
    try:
        if file.stat().st_size > MOST_BYTES:
            raise SettingsError([f"{problem}it has more than {MOST_BYTES} bytes"])
        return tomllib.loads(file.read_bytes().decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError([f"{problem}{error}"]) from error


def unknown_keys(found: Collection[str], known: Collection[str], *, path: str) -> list[str]:
    """Returns a sentence for each key that is not known: the known one that is like it, or all that are known."""
    problems = []
    for key in found:
        if key in known:
            continue
        close = difflib.get_close_matches(key[:_LIKE_CHARACTERS].replace("-", "_").lower(), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
        problems.append(f"{shorten(key)} in {path} is not a setting: {hint}")
    return problems

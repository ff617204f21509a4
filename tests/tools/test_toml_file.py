from __future__ import annotations

from pathlib import Path

import pytest

from fanwise.errors import SettingsError
from fanwise.tools import toml_file
from fanwise.tools.toml_file import read_toml, unknown_keys


def test_a_file_is_read(tmp_path: Path) -> None:
    """In the order in which its tables stand."""
    (tmp_path / "a.toml").write_text("[b]\n[a]\nx = 1\n")
    assert list(read_toml(str(tmp_path / "a.toml"), named="FILE")) == ["b", "a"]


def test_what_is_no_file_of_toml_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of what named it."""
    with pytest.raises(SettingsError, match=r"FILE is '.*': there is no such file"):
        read_toml(str(tmp_path), named="FILE")
    (tmp_path / "a.toml").write_text("x = " + "[" * 5000)
    with pytest.raises(SettingsError, match="FILE is"):
        read_toml(str(tmp_path / "a.toml"), named="FILE")
    monkeypatch.setattr(toml_file, "MOST_BYTES", 100)
    with pytest.raises(SettingsError, match="it has more than 100 bytes"):
        read_toml(str(tmp_path / "a.toml"), named="FILE")


def test_an_unknown_key_is_compared_with_the_known_ones() -> None:
    """The one that is like it is named, or all."""
    known = {"queue_bytes", "port"}
    assert unknown_keys(["port"], known, path="f") == []
    like, unlike = unknown_keys(["Queue-Bytes", "zzz"], known, path="f")
    assert like == "'Queue-Bytes' in f is not a setting: did you mean queue_bytes?"
    assert unlike.endswith("known are port, queue_bytes")

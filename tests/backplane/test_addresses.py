from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fanwise.backplane.addresses import read_host, show_hosts, tls_context, wrong
from fanwise.errors import SettingsError

PARTS = urlsplit("nats://ann:secret@a,b")


@pytest.mark.parametrize(
    ("text", "place"), [("a", ("a", 7)), ("a:8", ("a", 8)), ("[::1]", ("::1", 7)), ("[::1]:8", ("::1", 8))]
)
def test_a_host(text: str, place: tuple[str, int]) -> None:
    """Has its own port, or the usual one; and is shown as it is read."""
    assert read_host(PARTS, text, 7) == place
    assert read_host(PARTS, show_hosts([place]), 1) == place


@pytest.mark.parametrize("text", ["", ":8", "a:0", "a:x", "a:70000", "[::1"])
def test_no_host(text: str) -> None:
    """The error says which, and no password."""
    with pytest.raises(SettingsError, match="is no host") as error:
        read_host(PARTS, text, 7)
    assert "secret" not in str(error.value)


def test_an_error_shows_where_and_not_who() -> None:
    """Neither user nor password."""
    assert str(wrong(PARTS, "no")) == "backplane nats://...a,b: no"


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    """The error names the address."""
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(SettingsError, match="backplane nats://a: its certificates"):
        tls_context("nats://a", ca=str(file), cert="", key="")

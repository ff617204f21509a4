from __future__ import annotations

import pytest

from fanwise.core.addresses import is_loopback, owner_of, read_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:80", "192.0.2.7"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:", None),
        ("192.0.2.7:x", None),
        ("192.0.2.7:999999", None),
        ("192.0.2.7:\u0665", None),
        ("[::1", None),
        ("[::1]x", None),
        ("example.com", None),
        ("", None),
    ],
)
def test_addresses_are_read_as_headers_spell_them(text: str, address: str | None) -> None:
    """With a port or without."""
    found = read_address(text)
    assert (None if found is None else str(found)) == address


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.7", False),
        ("example.com", False),
        ("testclient", False),
    ],
)
def test_loopback_is_what_others_do_not_reach(host: str, loopback: bool) -> None:
    """All of 127.0.0.0/8, and `localhost`."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("192.0.2.7:80", "192.0.2.7"),
        ("2001:db8::1:80", "2001:db8::/64"),
        ("::ffff:192.0.2.7:80", "192.0.2.7"),
        ("127.0.0.1:80", ""),
        ("::1:80", ""),
        ("", ""),
    ],
)
def test_bounds_of_addresses_hold_for_those_that_others_have(address: str, owner: str) -> None:
    """For a whole /64 of IPv6; what is unknown is bounded by nothing."""
    assert owner_of(address) == owner
